"""What the Python tests share. A test that cannot run here prints "skipped: " and the reason, which ctest looks for."""

import glob
import importlib.machinery
import importlib.util
import os
import sys


def skip(reason):
    print("skipped:", reason)
    sys.exit(0)


def require(*modules):
    """Ends the test where these modules, or a build of fourfold for this Python, are missing. Broken ones fail later."""
    for name in modules:
        if importlib.util.find_spec(name) is None:
            skip(f"{name} is not installed for {sys.executable}")
    spec = importlib.util.find_spec("fourfold")
    if spec is None:
        skip("fourfold is not on the path; build it and set PYTHONPATH to build/release/python")
    folder = spec.submodule_search_locations[0]
    suffixes = importlib.machinery.EXTENSION_SUFFIXES
    if not any(os.path.exists(os.path.join(folder, "_core" + s)) for s in suffixes):
        skip(f"fourfold was built for another Python than {sys.executable}: {glob.glob(os.path.join(folder, '_core*'))}")
