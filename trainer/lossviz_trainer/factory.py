"""The user's own model and data, built again for a scan by a function of theirs.

A recorded run names that function; nothing but a scan calls it. To call it is to run the code
it stands in, so a run from somebody else must not be able to name one: the name counts only
with a seal that can be made with a secret of this user alone, or where the user says so.
"""

import contextlib
import hashlib
import hmac
import importlib
import importlib.util
import json
import os
import re
import secrets
import stat
import sys
import sysconfig
from collections.abc import Callable, Generator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, cast

import platformdirs

from lossviz_analysis.errors import LossvizError, describe
from lossviz_analysis.store.description import RunDescription

_NAME = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*(\.[^\W\d]\w*)*")
_KEY_NAME = "factory.key"
_KEY_BYTES = 32

_is_building = False


class UntrustedFactoryError(LossvizError):
    """The run names a function that its user has not vouched for."""


@dataclass(frozen=True)
class FactoryReference:
    """A function without arguments that returns a model, its training and its test data."""

    name: str
    """`package.module:function`."""
    folder: str
    """Absolute path of the folder that makes it importable; "" where it is installed."""

    @classmethod
    def of(cls, factory: str | Callable[[], object]) -> "FactoryReference":
        """Name a function so that another process finds it.

        Args:
            factory: The function, defined at the top of a module or of the script that runs;
                or its name, `package.module:function`.

        Returns:
            Its name and the folder it is found from; nothing is imported.

        Raises:
            LossvizError: It is no such name, or a function without one.
        """
        if isinstance(factory, str):
            if not _NAME.fullmatch(factory):
                raise LossvizError(
                    f"a factory is named 'package.module:function'; got {factory!r}"
                )
            module_name = factory.partition(":")[0]
            return cls(factory, _folder_from_name(module_name))
        module_name = str(getattr(factory, "__module__", ""))
        qualified = str(getattr(factory, "__qualname__", ""))
        if not _NAME.fullmatch(f"{module_name}:{qualified}"):
            raise LossvizError(
                f"a factory must be a function at the top of a module; {factory!r} is not, so "
                "no other process can find it"
            )
        module = sys.modules[module_name]
        if module_name == "__main__":
            module_name = _name_of_script(module)
        return cls(f"{module_name}:{qualified}", _folder_of(module, module_name))


def _name_of_script(module: ModuleType) -> str:
    """What the running script is called when it is imported.

    Raises:
        LossvizError: It is typed in by hand, so no other process can import it.
    """
    if module.__spec__ is not None and module.__spec__.name != "__main__":
        return module.__spec__.name
    stem = Path(getattr(module, "__file__", None) or "").stem
    if not stem.isidentifier() or stem == "__main__":
        raise LossvizError(
            "a factory of an interactive session cannot be found by another process; put it "
            "into a file that can be imported"
        )
    return stem


def _folder_of(module: ModuleType, name: str) -> str:
    file = getattr(module, "__file__", None)
    if not isinstance(file, str):
        return _folder_from_name(name)
    path = Path(file).absolute()
    base = path.parent if path.stem == "__init__" else path
    for _ in name.split("."):
        base = base.parent
    return _unless_installed(base)


def _folder_from_name(name: str) -> str:
    """Where a module would be imported from, judged by its outermost package."""
    top = name.partition(".")[0]
    module = sys.modules.get(top)
    if module is not None and top == name:
        return _folder_of(module, name)
    try:
        # Of a name without dots this imports nothing.
        spec = importlib.util.find_spec(top)
    except (ImportError, ValueError):
        spec = None
    if spec is None:
        return str(Path.cwd())
    if spec.submodule_search_locations:
        return _unless_installed(Path(next(iter(spec.submodule_search_locations))).parent)
    return _unless_installed(Path(spec.origin or "").absolute().parent)


def _unless_installed(folder: Path) -> str:
    installed = {Path(path) for path in sysconfig.get_paths().values()}
    return "" if folder in installed else str(folder)


def seal(run_id: str, factory: FactoryReference) -> str:
    """Vouch for the factory of a run.

    Args:
        run_id: Of the run.
        factory: What it names.

    Returns:
        HMAC-SHA256 in hexadecimal, with a key only this user can read, made on first use.

    Raises:
        LossvizError: The key cannot be read or made.
    """
    message = json.dumps([run_id, factory.name, factory.folder]).encode()
    return hmac.new(_key(create=True), message, hashlib.sha256).hexdigest()


def check_trust(run: Path, description: RunDescription) -> None:
    """See whether the user this process runs as has vouched for the factory of a run.

    A run that came from elsewhere may belong to this user once it is unpacked, but carries no
    seal of theirs.

    Args:
        run: The run's folder.
        description: Its description.

    Raises:
        UntrustedFactoryError: They have not.
    """
    factory = reference_in(description)
    found = description.model.get("seal")
    is_sealed = False
    with contextlib.suppress(LossvizError, OSError):
        owners = {run.stat().st_uid, (run / "zarr.json").lstat().st_uid}
        message = json.dumps([description.run_id, factory.name, factory.folder]).encode()
        wanted = hmac.new(_key(create=False), message, hashlib.sha256).hexdigest()
        is_sealed = (
            owners == {os.getuid()}
            and isinstance(found, str)
            and found.isascii()
            and hmac.compare_digest(found, wanted)
        )
    if not is_sealed:
        raise UntrustedFactoryError(
            f"to scan this run, the function {factory.name!r} has to be imported from "
            f"{factory.folder or 'the installed packages'} and called, and you did not record "
            "the run yourself; if you trust that code, ask again with --trust"
        )


def _key(*, create: bool) -> bytes:
    """The secret of this user.

    Raises:
        LossvizError: There is none, or others can read it.
    """
    folder = Path(platformdirs.user_state_dir("lossviz-tui"))
    path = folder / _KEY_NAME
    try:
        if create and not path.exists():
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            _make_key(path)
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
        with os.fdopen(descriptor, "rb") as file:
            found = os.fstat(descriptor)
            key = file.read(_KEY_BYTES + 1)
    except OSError as error:
        raise LossvizError(f"{path} cannot be read: {error.strerror}") from None
    is_private = stat.S_ISREG(found.st_mode) and not found.st_mode & 0o077
    if not is_private or found.st_uid != os.getuid() or len(key) != _KEY_BYTES:
        raise LossvizError(f"{path} should be {_KEY_BYTES} bytes that only you can read")
    return key


def _make_key(path: Path) -> None:
    """Make the key in one step: whoever comes at the same time sees all of it or none."""
    partial = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(secrets.token_bytes(_KEY_BYTES))
            file.flush()
            os.fsync(file.fileno())
        with contextlib.suppress(FileExistsError):
            path.hardlink_to(partial)
    finally:
        partial.unlink()


def refer_to(description: RunDescription, factory: str | Callable[[], object]) -> None:
    """Have a new run name its factory, sealed.

    Args:
        description: Of the run; changed in place.
        factory: See `FactoryReference.of`.

    Raises:
        LossvizError: It could not be found again; the description is then as it was.
    """
    reference = FactoryReference.of(factory)
    signed = seal(description.run_id, reference)
    description.model.update(factory=reference.name, factory_path=reference.folder, seal=signed)


def reference_in(description: RunDescription) -> FactoryReference:
    """The factory a run names.

    Args:
        description: Of the run, perhaps a stranger's.

    Returns:
        The reference; nothing is imported.

    Raises:
        LossvizError: It names none, or not in the way this program does.
    """
    name, folder = description.model.get("factory"), description.model.get("factory_path")
    if not name:
        raise LossvizError(
            "this run was recorded without a factory, so its model and its data cannot be "
            "built for a scan; give RunRecorder.create a factory"
        )
    is_named = isinstance(name, str) and _NAME.fullmatch(name) is not None
    if (
        not is_named
        or not isinstance(folder, str)
        or (folder and not Path(folder).is_absolute())
    ):
        raise LossvizError("the run names its factory in a way this program does not know")
    return FactoryReference(name, folder)


def is_building() -> bool:
    """Whether this process is importing or calling a factory at this moment."""
    return _is_building


def build(factory: FactoryReference) -> tuple[Any, Any, Any]:
    """Import a factory and call it. Its code runs as this user: see `check_trust` first.

    Args:
        factory: What to call.

    Returns:
        What it calls the model, the training and the test data, unchecked.

    Raises:
        LossvizError: It cannot be imported, fails, or returns something else.
    """
    module_name, _, path = factory.name.partition(":")
    try:
        with _importable(factory.folder):
            found: Any = importlib.import_module(module_name)
            for part in path.split("."):
                found = getattr(found, part)
            made: Any = found()
    except LossvizError:
        raise
    except (Exception, SystemExit) as error:
        raise LossvizError(f"the factory {factory.name!r} failed: {describe(error)}") from error
    parts: Any = made
    if all(hasattr(made, name) for name in ("model", "train", "test")) and not isinstance(
        made, tuple
    ):
        parts = (made.model, made.train, made.test)
    if not isinstance(parts, tuple | list) or len(cast("tuple[Any, ...]", parts)) != 3:
        raise LossvizError(
            f"the factory {factory.name!r} should return (model, train, test); "
            f"it returned a {type(made).__name__}"
        )
    model, train, test = cast("tuple[Any, Any, Any]", parts)
    return model, train, test


@contextlib.contextmanager
def _importable(folder: str) -> Generator[None]:
    """Let the modules of a folder be imported, for as long as a factory runs."""
    global _is_building  # noqa: PLW0603
    if folder:
        sys.path.insert(0, folder)
    _is_building = True
    importlib.invalidate_caches()
    try:
        yield
    finally:
        _is_building = False
        if folder:
            with contextlib.suppress(ValueError):
                sys.path.remove(folder)
