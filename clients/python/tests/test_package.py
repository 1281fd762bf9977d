import re
import shutil
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

from clerkgate import __version__
from tests.live import Server

SOURCE = Path(__file__).resolve().parents[1]
REPOSITORY = SOURCE.parents[1]
PAGE = REPOSITORY / "docs" / "clients" / "python.md"


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
        code = blocks(PAGE, "python")
        self.assertGreater(len(code), 8)
        text = "".join(code).replace('open("/run/secrets/token").read()', '"cgt_x"')
        self.assertIn("no such user", self.run_python(text))

    def test_first_user(self) -> None:
        """The last command of the page's first lines, and the README's, print a user."""
        command = blocks(PAGE, "sh")[0].splitlines()[-1]
        self.assertEqual(self.run_python(command.split("'")[1].replace("Client()", 'Client("127.0.0.1:9090")')), "Seth\n")
        self.assertEqual(self.run_python(blocks(REPOSITORY / "README.md", "python")[0]), "Seth\n")

    def run_python(self, text: str) -> str:
        return self.run_in_folder(self.python, "-c", text.replace("127.0.0.1:9090", self.server.address))


def blocks(page: Path, language: str) -> list:
    """Returns the blocks of code on a page."""
    return re.findall(f"^```{language}\n(.*?)^```", page.read_text(), re.DOTALL | re.MULTILINE)


if __name__ == "__main__":
    unittest.main()
