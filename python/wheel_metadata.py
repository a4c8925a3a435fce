"""The wheel's version, which is CMake's, and its licence, by the FFT libraries that it is linked to. scikit-build-core asks before it runs CMake,
so the libraries are looked for here as CMake does it; python/CMakeLists.txt stops where it decided otherwise. FOURFOLD_FFTW and
FOURFOLD_KISSFFT in the environment (AUTO, ON or OFF, or CMake's other constants: fourfold_choice in cmake/FourfoldOptions.cmake) hold for both."""

import os
import pathlib
import re
import subprocess


def _linked(option, module):
    choice = os.environ.get(option, "AUTO").upper()
    if re.fullmatch(r"1|ON|YES|TRUE|Y", choice):
        return True
    if re.fullmatch(r"|0|OFF|NO|FALSE|N|IGNORE|(.*-)?NOTFOUND", choice):
        return False
    if choice != "AUTO":
        raise ValueError(f"{option} is '{os.environ[option]}'; it takes AUTO, ON or OFF")
    try:
        return subprocess.run(["pkg-config", "--exists", module]).returncode == 0
    except FileNotFoundError:
        return False


def dynamic_metadata(settings, project):
    version = re.search(r"project\(fourfold VERSION ([0-9.]+)", pathlib.Path("CMakeLists.txt").read_text()).group(1)
    fftw, kissfft = _linked("FOURFOLD_FFTW", "fftw3f"), _linked("FOURFOLD_KISSFFT", "kissfft-float")
    os.environ["FOURFOLD_WHEEL_FFT"] = f"{fftw:d}{kissfft:d}"  # for python/CMakeLists.txt
    texts = ["contained.txt"] + ["kissfft.txt"] * kissfft + ["fftw.txt"] * fftw
    return {"version": version, "license": "MIT AND BSD-3-Clause" + " AND GPL-2.0-or-later" * fftw,
            "license-files": ["LICENSE", *(f"python/licenses/{text}" for text in texts)]}


def dynamic_wheel(settings):
    """What may be another in a wheel than in the sdist that it was built from."""
    return {"license": True, "license-files": True}
