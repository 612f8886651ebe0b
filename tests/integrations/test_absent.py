"""Without a framework its callback says what to install, and nothing else needs it."""

import importlib
import sys

import pytest


@pytest.mark.parametrize(
    ("module", "package", "install"),
    [
        ("lightning", "lightning.pytorch", "pip install lightning"),
        ("huggingface", "transformers", "pip install transformers"),
    ],
)
def test_the_callback_of_an_absent_framework_says_what_to_install(
    monkeypatch, module, package, install
):
    name = f"lossviz_trainer.callbacks.{module}"
    monkeypatch.delitem(sys.modules, name, raising=False)
    for present in [n for n in sys.modules if n.partition(".")[0] == package.partition(".")[0]]:
        monkeypatch.delitem(sys.modules, present)
    monkeypatch.setitem(sys.modules, package.partition(".")[0], None)
    with pytest.raises(ImportError, match=install):
        importlib.import_module(name)
