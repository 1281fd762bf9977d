import re
import shutil
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

from clerkgate import __version__
from tests.live import PROGRAM, Server

SOURCE = Path(__file__).resolve().parents[1]
PAGE = SOURCE.parents[1] / "docs" / "clients" / "python.md"


class PackageTest(unittest.TestCase):
    """The package as it would be published, installed elsewhere."""

    @classmethod
    def setUpClass(cls) -> None:
        folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(folder.cleanup)
        cls.folder = Path(folder.name)
        # In a copy, since building leaves files behind.
        shutil.copytree(SOURCE, cls.folder / "source", ignore=shutil.ignore_patterns("build", "*.egg-info"))
        cls.pip(sys.executable, "wheel", "--no-build-isolation", "--wheel-dir", "wheels", "./source")
        # grpcio and protobuf are the system's.
        cls.run_in_folder(sys.executable, "-m", "venv", "--system-site-packages", "venv")
        cls.python = str(cls.folder / "venv" / "bin" / "python")
        cls.pip(cls.python, "install", f"wheels/clerkgate-{__version__}-py3-none-any.whl")
        cls.server = Server()
        cls.addClassCleanup(cls.server.stop)

    @classmethod
    def run_in_folder(cls, *command: str) -> str:
        done = subprocess.run(command, cwd=cls.folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        if done.returncode != 0:
            raise AssertionError(f"{command}: {done.stdout}")
        return done.stdout

    @classmethod
    def pip(cls, python: str, command: str, *args: str) -> None:
        cls.run_in_folder(python, "-m", "pip", command, "--quiet", "--no-index", "--no-deps", *args)

    def test_is_typed(self) -> None:
        package = self.run_in_folder(self.python, "-c", "import clerkgate; print(clerkgate.__path__[0])").strip()
        self.assertTrue(package.startswith(str(self.folder)), package)
        for name in "py.typed", "v1/user_pb2.pyi":
            self.assertTrue((Path(package) / name).exists(), name)

    def test_example(self) -> None:
        printed = self.run_in_folder(self.python, "source/example.py", self.server.address)
        self.assertRegex(printed, "(?m)^3 found, {'user_nobody': 'USER_NOT_FOUND'}\nnot found\n10000 users, ")

    def test_page(self) -> None:
        """Every piece of Python on the page runs, in order."""
        code = re.findall("^```python\n(.*?)^```", PAGE.read_text(), re.DOTALL | re.MULTILINE)
        self.assertGreater(len(code), 8)
        text = "".join(code).replace("127.0.0.1:9090", self.server.address)
        text = re.sub('open(.*?).read', "str", text)
        printed = self.run_in_folder(self.python, "-c", text)
        self.assertIn("no such user", printed)
        first = re.findall("^```sh\n(.*?)^```", PAGE.read_text(), re.DOTALL | re.MULTILINE)[0]
        self.assertIn(str(PROGRAM.relative_to(SOURCE.parents[1])), first)


if __name__ == "__main__":
    unittest.main()
