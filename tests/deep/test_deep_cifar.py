"""The reader of CIFAR-10 batches: whole ones, damaged ones, and ones that attack."""

from __future__ import annotations

import os
import pickle
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from teacher_student.arrays import Array
from teacher_student.deep import cifar
from teacher_student.deep.data import load_data, read_cifar
from teacher_student.errors import InvalidInput


def pixels(n_samples: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).integers(0, 256, (n_samples, 3072)).astype(np.uint8)


def batch(n_samples: int = 6, **changes: Any) -> dict[Any, Any]:
    content = {
        b"batch_label": b"training batch 1 of 5",
        b"labels": [i % 10 for i in range(n_samples)],
        b"data": pixels(n_samples),
    }
    content[b"filenames"] = [b"a.png"] * n_samples
    return {**content, **{key.encode(): value for key, value in changes.items()}}


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("order", ["C", "F"])
def test_cifar_batches_of_every_protocol(protocol: int, order: Any, tmp_path: Path) -> None:
    content = batch(data=np.asarray(pixels(6), order=order))
    (tmp_path / "b").write_bytes(pickle.dumps(content, protocol=protocol))
    X, y = cifar.read_batch(tmp_path / "b")
    np.testing.assert_array_equal(X, pixels(6))
    np.testing.assert_array_equal(y, np.arange(6) % 10)


def test_a_batch_as_python_2_wrote_it(tmp_path: Path) -> None:
    """Protocol 2 with strings of bytes and numpy.core, opcode by opcode, as in the published files."""
    data = pixels(2)
    raw = b"\x80\x02}(U\x04datacnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R"
    raw += (
        b"(K\x01K\x02M\x00\x0c\x86cnumpy\ndtype\nU\x02u1K\x00K\x01\x87R(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
    )
    raw += b"\x89T" + struct.pack("<i", data.size) + data.tobytes() + b"tbU\x06labels](K\x03K\x07eu."
    (tmp_path / "b").write_bytes(raw)
    X, y = cifar.read_batch(tmp_path / "b")
    np.testing.assert_array_equal(X, data)
    assert y.tolist() == [3, 7]


class Attack:
    """Unpickled by pickle.load it would make a folder."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, ("attacked",)


def test_nothing_in_a_batch_is_executed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "b"
    path.write_bytes(pickle.dumps(batch(more=Attack())))
    with pytest.raises(InvalidInput, match=rf"it names {os.name if os.name != 'nt' else 'nt'}\w*\.mkdir"):
        cifar.read_batch(path)
    assert not (tmp_path / "attacked").exists()
    pickle.loads(path.read_bytes())  # the negative control: pickle itself executes it
    assert (tmp_path / "attacked").exists()


DAMAGED_BATCHES: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "offset 0: got a pickle that cannot be read"),
    "text": (b"hello, this is no pickle", "got a pickle that cannot be read"),
    "cut": (pickle.dumps(batch(), protocol=2)[:-500], "got a pickle that cannot be read"),
    "more after the end": (pickle.dumps(batch()) + b"x", "got more data, expected the end of the file"),
    "a list": (pickle.dumps([1, 2]), "content: got list, expected a dictionary"),
    "no data": (pickle.dumps({b"labels": [1]}), "data: got NoneType, expected an array"),
    "data of floats": (pickle.dumps(batch(data=pixels(6).astype(float))), "data: got an array of type 'f8', expected unsigned"),
    "data of objects": (pickle.dumps(batch(data=pixels(2).astype(object))), "data: got an array of type 'O8'"),
    "grey images": (pickle.dumps(batch(data=pixels(6)[:, :1024])), "data: got shape (6, 1024), expected (samples, 3072)"),
    "flat data": (pickle.dumps(batch(data=pixels(6).ravel())), "data: got shape (18432,), expected (samples, 3072)"),
    "fine labels": (pickle.dumps({b"data": pixels(2), b"fine_labels": [1, 2]}), "labels: got NoneType, expected a list"),
    "labels too few": (pickle.dumps(batch(labels=[1, 2])), "labels: got 2 labels, expected 6"),
    "a label too large": (pickle.dumps(batch(labels=[1, 2, 3, 99, 5, 6])), "labels[3]: got 99, expected a label between 0 and 9"),
    "a label of text": (pickle.dumps(batch(labels=[b"1", 2, 3, 4, 5, 6])), "labels[0]: got b'1', expected a label"),
    "a label of truth": (pickle.dumps(batch(labels=[1, 2, 3, 4, 5, True])), "labels[5]: got True, expected a label"),
}


@pytest.mark.parametrize("name", DAMAGED_BATCHES)
def test_damaged_batches_are_refused_with_file_and_field(name: str, tmp_path: Path) -> None:
    content, message = DAMAGED_BATCHES[name]
    (tmp_path / "data_batch_1").write_bytes(content)
    with pytest.raises(InvalidInput) as caught:
        cifar.read_batch(tmp_path / "data_batch_1")
    assert str(caught.value).startswith(f"{tmp_path / 'data_batch_1'}: ")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_stand_ins_survive_arguments_that_no_array_has(tmp_path: Path) -> None:
    """Pickles that misuse what they may name: built by hand, since pickle does not write such."""
    array = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85C\x01b\x87R"
    unsigned = b"cnumpy\ndtype\nC\x02u1\x85R"
    hostile = {
        "state of another length": b"\x80\x03}C\x04data" + array + b"(K\x01K\x02tbs.",
        "a shape of text": b"\x80\x03}C\x04data" + array + b"(K\x01C\x03abcK\x01\x89C\x01xtbs.",
        "negative sizes": b"\x80\x03}C\x04data" + array + b"(K\x01J\xff\xff\xff\xffM\x00\x0c\x86" + unsigned + b"\x89C\x01xtbs.",
        "fewer bytes than its shape": b"\x80\x03}C\x04data" + array + b"(K\x01K\x02M\x00\x0c\x86" + unsigned + b"\x89C\x01xtbs.",
        "a dictionary of unhashable keys": b"\x80\x03}]K\x01s.",
    }
    for content in hostile.values():
        (tmp_path / "b").write_bytes(content)
        with pytest.raises(InvalidInput, match=r"expected"):
            cifar.read_batch(tmp_path / "b")


CIFAR_FILES = {f"data_batch_{number}": f"training batch {number} of 5" for number in range(1, 6)}
CIFAR_FILES["test_batch"] = "testing batch 1 of 1"


def write_cifar(folder: Path, labelled: bool = True) -> None:
    for number, (file, name) in enumerate(CIFAR_FILES.items()):
        content = batch(4, data=pixels(4, number), batch_label=name.encode())
        if not labelled:
            del content[b"batch_label"]
        (folder / file).write_bytes(pickle.dumps(content))


def test_cifar_is_read_from_a_folder(tmp_path: Path) -> None:
    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    with pytest.raises(InvalidInput, match=r"got no file data_batch_1"):
        read_cifar(tmp_path)
    write_cifar(folder)
    X, y, X_test, y_test = read_cifar(tmp_path)
    np.testing.assert_array_equal(X[4:8], pixels(4, 1))
    np.testing.assert_array_equal(X_test, pixels(4, 5))
    assert (X.shape, y.shape, y_test.shape) == ((20, 3072), (20,), (4,))
    assert load_data("cifar-10", folder).X_train.shape == (20, 3072)


def nested(depth: int, width: int) -> list[Any]:
    """Return lists of `width` times the same list, `depth` deep: short to write, endless to print."""
    value: list[Any] = []
    for _ in range(depth):
        value = [value] * width
    return value


def array_state(shape: Any, name: Any = b"u1") -> bytes:
    """Return a batch of an array with a state that NumPy does not write."""
    raw = b"\x80\x02}C\x04datacnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85C\x01b\x87R(K\x01"
    shape_text, name_text = (pickle.dumps(value, protocol=2)[2:-1] for value in (shape, name))
    return raw + shape_text + b"cnumpy\ndtype\n" + name_text + b"\x85R\x89C\x01xtbs."


DEEP = b"\x80\x02}(C\x04data" + pickle.dumps(pixels(1), protocol=2)[2:-1] + b"C\x06labels]" + b"]" * 5000 + b"a" * 5000 + b"u."
HOSTILE: dict[str, tuple[bytes, str]] = {
    "a label of 5000 digits": (pickle.dumps(batch(5, labels=[10**5000] * 5)), "labels[0]: got int, expected a label"),
    "a label of 2^27 lists": (pickle.dumps(batch(5, labels=[nested(27, 2)] * 5)), "labels[0]: got list, expected a label"),
    "a label 5000 lists deep": (DEEP, "labels[0]: got list, expected a label"),
    "a shape of 5000 digits": (array_state((10**5000, 3072)), "data: got shape (int, 3072), expected (samples, 3072)"),
    "a shape of 2^27 lists": (array_state((nested(27, 2), 3072)), "data: got shape (list, 3072), expected"),
    "a shape of truth": (array_state((True, 3072)), "data: got shape (True, 3072), expected"),
    "a shape beyond any file": (array_state((2**31, 3072)), "data: got shape (int, 3072), expected"),
    "a shape of many numbers": (array_state((1,) * 10000), "data: got shape tuple, expected"),
    "a type of 2^27 lists": (array_state((1, 3072), nested(27, 2)), "data: got an array of type list, expected unsigned"),
    "a type of long text": (array_state((1, 3072), "u1" * 10000), "data: got an array of type str, expected unsigned"),
    "a batch label of 2^27 lists": (pickle.dumps(batch(batch_label=nested(27, 2))), "batch_label: got list, expected 'training"),
    "a long name": (b"cos\n" + b"x" * 100000 + b"\n.", "offset"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_what_a_batch_holds_is_not_printed_at_length(name: str, tmp_path: Path) -> None:
    content, message = HOSTILE[name]
    (tmp_path / "b").write_bytes(content)
    with pytest.raises(InvalidInput) as caught:
        cifar.read_batch(tmp_path / "b", "training batch 1 of 5")
    assert message in str(caught.value)
    assert len(str(caught.value)) < 300 + len(str(tmp_path))


def doubled(depth: int) -> bytes:
    """Return operations that leave a tuple of twice a tuple, `depth` deep, whose hash takes 2^depth steps."""
    return b"(t" + (b"2\x86" * depth)


SLOW_TO_HASH: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "SETITEM": (lambda key: b"\x80\x04}" + key + b"K\x01s.", "it has tuple as a key"),
    "SETITEMS": (lambda key: b"\x80\x04}(" + key + b"K\x01u.", "it has tuple as a key"),
    "DICT": (lambda key: b"\x80\x04(" + key + b"K\x01d.", "it has tuple as a key"),
    "ADDITEMS": (lambda key: b"\x80\x04\x8f(" + key + b"\x90.", "it has a set"),
    "FROZENSET": (lambda key: b"\x80\x04(" + key + b"\x91.", "it has a set"),
    "SETITEM in the state of an array": (
        lambda key: b"\x80\x04cnumpy\nndarray\n)\x81}" + key + b"K\x01sb.",
        "it has tuple as a key",
    ),
}


@pytest.mark.parametrize("operation", SLOW_TO_HASH)
def test_nothing_is_hashed_that_takes_for_ever(operation: str, tmp_path: Path) -> None:
    """A tuple 100 deep has 2^100 leaves; with one of 3, which pickle itself loads, the operations are seen to be right."""
    content, message = SLOW_TO_HASH[operation]
    if "array" not in operation:
        assert len(pickle.loads(content(doubled(3)))) == 1
    for depth in (3, 100):
        (tmp_path / "b").write_bytes(content(doubled(depth)))
        with pytest.raises(InvalidInput, match=message):
            cifar.read_batch(tmp_path / "b")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\x80\x04c_codecs\nencode\n}C\x01aK\x01sb.", "it gives a state to function"),
        (b"\x80\x04]K\x00K\x01s.", "it makes entries in list"),
        (b"\x80\x04(C\x01ad.", "argument 2 is shorter"),
    ],
)
def test_operations_that_no_batch_has_are_refused(content: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / "b").write_bytes(content)
    with pytest.raises(InvalidInput, match=message):
        cifar.read_batch(tmp_path / "b")


@pytest.mark.parametrize("labelled", [True, False])
@pytest.mark.parametrize("copied", ["test_batch", "data_batch_3"])
def test_a_batch_in_place_of_another_is_refused(labelled: bool, copied: str, tmp_path: Path) -> None:
    write_cifar(tmp_path, labelled)
    read_cifar(tmp_path)  # the negative control
    (tmp_path / copied).write_bytes((tmp_path / "data_batch_1").read_bytes())
    with pytest.raises(InvalidInput) as caught:
        read_cifar(tmp_path)
    reason = f"batch_label: got 'training batch 1 of 5', expected {CIFAR_FILES[copied]!r}"
    assert str(caught.value) == f"{tmp_path / copied}: " + (
        reason if labelled else "data: got the images of data_batch_1, expected others"
    )
