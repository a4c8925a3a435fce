"""What the wheel says of itself: its licence as it was built, what it needs. ./dev python runs it where the wheel is installed."""

import ast
import email
import importlib.metadata
import os
import re
import subprocess
import sys
import unittest

from support import require, skip

require("numpy")
try:
    wheel = importlib.metadata.distribution("fourfold")
except importlib.metadata.PackageNotFoundError:
    skip("fourfold is not installed from a wheel")
import fourfold


class Wheel(unittest.TestCase):
    def setUp(self):
        self.metadata = email.message_from_string(wheel.read_text("METADATA"))

    def test_licence_is_that_of_what_it_is_linked_to(self):
        linked = fourfold.fft_backends()
        self.assertEqual(self.metadata["License-Expression"], "MIT AND BSD-3-Clause" + (" AND GPL-2.0-or-later" if "fftw" in linked else ""))
        texts = {name: wheel.read_text(f"licenses/{name}") for name in self.metadata.get_all("License-File")}
        self.assertEqual(set(texts), {"LICENSE", "python/licenses/contained.txt", *(f"python/licenses/{name}.txt" for name in linked)})
        for name, words in {"LICENSE": "MIT", "python/licenses/contained.txt": "Halide", "python/licenses/fftw.txt": "GNU GENERAL PUBLIC LICENSE",
                            "python/licenses/kissfft.txt": "Mark Borgerding"}.items():
            if name in texts:
                self.assertIn(words, texts[name])
        self.assertFalse([c for c in self.metadata.get_all("Classifier") if c.startswith("License")])

    def test_licence_without_these_libraries(self):
        root = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
        script = "import sys; sys.path.insert(0, 'python'); import wheel_metadata as m; print(m.dynamic_metadata({}, {}))"
        for fftw, kissfft in (("ON", "OFF"), ("OFF", "ON"), ("OFF", "OFF"), ("True", "0"), ("no", "1"), ("", "y")):
            environment = os.environ | {"FOURFOLD_FFTW": fftw, "FOURFOLD_KISSFFT": kissfft, "PYTHONDONTWRITEBYTECODE": "1"}
            said = ast.literal_eval(subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env=environment, cwd=root, check=True).stdout)
            linked = [choice in ("ON", "True", "1", "y") for choice in (fftw, kissfft)]
            self.assertEqual("GPL" in said["license"], linked[0])
            self.assertEqual([name in str(said["license-files"]) for name in ("fftw.txt", "kissfft.txt")], linked)
            self.assertTrue(all(os.path.exists(os.path.join(root, name)) for name in said["license-files"]))

    def test_unknown_choice_of_a_library_is_refused(self):
        root = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
        script = "import sys; sys.path.insert(0, 'python'); import wheel_metadata as m; m.dynamic_metadata({}, {})"
        environment = os.environ | {"FOURFOLD_FFTW": "maybe", "PYTHONDONTWRITEBYTECODE": "1"}
        said = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env=environment, cwd=root)
        self.assertNotEqual(said.returncode, 0)
        self.assertIn("FOURFOLD_FFTW is 'maybe'", said.stderr)

    def test_needs(self):
        self.assertEqual(self.metadata["Name"], "fourfold")
        self.assertEqual(self.metadata["Version"], fourfold.__version__)
        self.assertEqual(self.metadata["Requires-Python"], ">=3.10")
        self.assertEqual([re.match(r"[a-z]+", need).group() for need in self.metadata.get_all("Requires-Dist")], ["numpy", "torch"])
        done = subprocess.run([sys.executable, "-m", "pip", "--disable-pip-version-check", "check"], capture_output=True, text=True, env=os.environ)
        self.assertFalse([line for line in done.stdout.splitlines() if line.startswith("fourfold ")], done.stdout)

    def test_holds_the_package_alone(self):
        folders = {str(file).split("/")[0] for file in wheel.files}
        self.assertEqual(folders, {"fourfold", f"fourfold-{fourfold.__version__}.dist-info"})


if __name__ == "__main__":
    unittest.main()
