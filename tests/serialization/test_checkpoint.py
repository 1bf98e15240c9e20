"""Checkpoints: save and load are inverses, and a failed save leaves the old file."""

import json
import os
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from numpy.typing import NDArray

from tinytorch.serialization import checkpoint
from tinytorch.serialization.checkpoint import CheckpointError, load, restore_rng, rng_state, save

Array = NDArray[Any]
CHECKS = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]  # a busy machine is slow
DTYPES = [np.dtype(code) for code in "?bhiqBHIQefd"]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "model.safetensors"


def assert_same(got: Array, expected: Array) -> None:
    assert got.dtype == expected.dtype.newbyteorder("=")
    assert got.shape == expected.shape
    assert got.tobytes() == expected.astype(got.dtype).tobytes()  # bytes: NaN equals NaN here
    assert got.flags.owndata
    assert got.flags.writeable
    assert got.flags.c_contiguous


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
NAMES = st.text(max_size=12).filter(lambda name: name != "__metadata__")
KEYS = st.text(max_size=12).filter(lambda key: key not in checkpoint._RESERVED)
ARRAYS = st.sampled_from(DTYPES).flatmap(
    lambda dtype: npst.arrays(
        dtype, npst.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4)
    )
)


class TestRoundTrip:
    @settings(max_examples=80, deadline=None, suppress_health_check=CHECKS)
    @given(
        arrays=st.dictionaries(NAMES, ARRAYS, max_size=4),
        metadata=st.dictionaries(KEYS, JSON, max_size=3),
    )
    def test_any_arrays_and_metadata(
        self, path: Path, arrays: dict[str, Array], metadata: dict[str, Any]
    ) -> None:
        save(path, arrays, metadata)
        got, got_metadata = load(path)
        assert got_metadata == metadata
        assert got.keys() == arrays.keys()
        for name, array in arrays.items():
            assert_same(got[name], array)

    @pytest.mark.parametrize("dtype", DTYPES, ids=str)
    def test_every_dtype(self, path: Path, dtype: np.dtype[Any]) -> None:
        array = np.arange(6).reshape(2, 3).astype(dtype)
        save(path, {"a": array}, {})
        assert_same(load(path)[0]["a"], array)

    @pytest.mark.parametrize(
        "array",
        [
            np.arange(12.0).reshape(3, 4).T,
            np.arange(12)[::-3],
            np.arange(24).reshape(2, 3, 4)[:, ::2, 1:],
            np.broadcast_to(np.float32(2.5), (2, 3)),
            np.asfortranarray(np.arange(6).reshape(2, 3)),
            np.arange(3, dtype=">f4"),
            np.arange(6, dtype=">i8").reshape(2, 3).T,
            np.array(3.5),
            np.array(True),
            np.zeros((0, 3), np.int8),
            np.zeros((3, 0, 2))[::-1],
            np.array([np.nan, np.inf, -0.0, 5e-324]),
            np.array([2**64 - 1], np.uint64),
        ],
        ids=lambda array: f"{array.dtype}-{array.shape}-{array.strides}",
    )
    def test_strides_byte_orders_and_empty_shapes(self, path: Path, array: Array) -> None:
        before = array.copy()
        save(path, {"a": array, "b": array}, {})
        got, _ = load(path)
        assert_same(got["a"], array)
        assert_same(got["b"], array)
        np.testing.assert_array_equal(array, before)

    def test_loaded_arrays_are_independent_of_the_file_and_of_each_other(self, path: Path) -> None:
        save(path, {"a": np.ones(3), "b": np.ones(3)}, {})
        first, _ = load(path)
        first["a"] += 1
        path.unlink()  # on Windows this fails if the file is still open
        assert first["a"].tolist() == [2, 2, 2]
        assert first["b"].tolist() == [1, 1, 1]

    def test_no_arrays_and_no_metadata(self, path: Path) -> None:
        save(path, {}, {})
        assert load(path) == ({}, {})

    def test_unusual_names(self, path: Path) -> None:
        names = ["", "a.b.0.weight", "größe", "名", '"\n\\', "\0", "🎭", 'x"contents_sha256']
        save(path, {name: np.full(2, i) for i, name in enumerate(names)}, {n: n for n in names})
        arrays, metadata = load(path)
        assert {name: int(array[0]) for name, array in arrays.items()} == {
            name: i for i, name in enumerate(names)
        }
        assert metadata == {name: name for name in names}

    def test_large_and_non_finite_numbers(self, path: Path) -> None:
        save(path, {}, {"big": 2**200, "nan": float("nan"), "inf": float("inf")})
        _, metadata = load(path)
        assert metadata["big"] == 2**200
        assert np.isnan(metadata["nan"])
        assert metadata["inf"] == float("inf")

    def test_path_as_a_string(self, path: Path) -> None:
        save(str(path), {"a": np.ones(1)}, {})
        assert_same(load(str(path))[0]["a"], np.ones(1))

    def test_the_file_is_plain_safetensors(self, path: Path) -> None:
        from safetensors import safe_open

        save(path, {"a": np.ones((2, 3), np.float32)}, {"step": 7, "name": "x"})
        with safe_open(path, framework="np") as file:
            metadata = file.metadata()
            assert len(metadata.pop("contents_sha256")) == 64
            assert metadata == {
                "format": "tinytorch",
                "version": "2",
                "step": "7",
                "name": '"x"',
            }
            assert file.get_tensor("a").shape == (2, 3)


class TestOlderFiles:
    def test_a_file_of_version_1_which_has_no_checksum(self, path: Path) -> None:
        from safetensors.numpy import save_file

        save_file({"a": np.ones(3)}, path, {"format": "tinytorch", "version": "1", "step": "7"})
        arrays, metadata = load(path)
        assert_same(arrays["a"], np.ones(3))
        assert metadata == {"step": 7}


class TestSaveRefuses:
    @pytest.mark.parametrize("dtype", ["O", "U3", "F", "D", "M8[s]", "i4,f4"])
    def test_dtypes_that_cannot_be_represented(self, path: Path, dtype: str) -> None:
        with pytest.raises(CheckpointError, match="array 'bad' has dtype"):
            save(path, {"good": np.ones(2), "bad": np.zeros(2, dtype)}, {})
        assert not path.exists()

    def test_the_reserved_array_name(self, path: Path) -> None:
        with pytest.raises(CheckpointError, match="__metadata__"):
            save(path, {"__metadata__": np.ones(2)}, {})

    @pytest.mark.parametrize("name", ["\ud800", 3])
    def test_names_that_are_not_valid_text(self, path: Path, name: Any) -> None:
        with pytest.raises(CheckpointError):
            save(path, {name: np.ones(2)}, {})
        with pytest.raises(CheckpointError):
            save(path, {}, {name: 1})
        assert not path.exists()

    @pytest.mark.parametrize("key", ["format", "version", "contents_sha256"])
    def test_reserved_metadata_keys(self, path: Path, key: str) -> None:
        with pytest.raises(CheckpointError, match=f"cannot have the key '{key}'"):
            save(path, {}, {key: 1})

    @pytest.mark.parametrize("value", [np.float32(1), {1, 2}, b"x", object()])
    def test_values_that_are_not_json(self, path: Path, value: Any) -> None:
        with pytest.raises(CheckpointError, match="JSON cannot represent metadata 'loss'"):
            save(path, {}, {"loss": value})

    def test_a_recursive_value(self, path: Path) -> None:
        value: list[Any] = []
        value.append(value)
        with pytest.raises(CheckpointError, match="JSON cannot represent"):
            save(path, {}, {"loop": value})


class TestLoadRefuses:
    def test_a_missing_file(self, path: Path) -> None:
        with pytest.raises(CheckpointError, match=r"there is no checkpoint .*model\.safetensors"):
            load(path)

    def test_a_folder(self, tmp_path: Path) -> None:
        with pytest.raises(CheckpointError, match="is a folder"):
            load(tmp_path)

    def test_a_file_truncated_anywhere(self, path: Path) -> None:
        save(path, {"a": np.arange(5, dtype=np.int16)}, {"step": 1})
        whole = path.read_bytes()
        for length in range(len(whole)):
            path.write_bytes(whole[:length])
            with pytest.raises(CheckpointError, match=r"model\.safetensors is damaged, truncated"):
                load(path)

    def test_a_file_with_extra_bytes(self, path: Path) -> None:
        save(path, {"a": np.arange(5)}, {})
        path.write_bytes(path.read_bytes() + b"x")
        with pytest.raises(CheckpointError, match=r"model\.safetensors is damaged"):
            load(path)

    @settings(max_examples=60, deadline=None, suppress_health_check=CHECKS)
    @given(data=st.binary(max_size=200))
    def test_arbitrary_bytes(self, path: Path, data: bytes) -> None:
        path.write_bytes(data)
        with pytest.raises(CheckpointError, match=r"model\.safetensors"):
            load(path)

    @settings(max_examples=80, deadline=None, suppress_health_check=CHECKS)
    @given(where=st.integers(0, 10**6), byte=st.integers(0, 255))
    def test_a_changed_byte(self, path: Path, where: int, byte: int) -> None:
        save(path, {"a": np.arange(3)}, {"step": 1, "names": ["a"]})
        data = bytearray(path.read_bytes())
        assume(data[where % len(data)] != byte)
        data[where % len(data)] = byte
        path.write_bytes(data)
        # White space in the header, and an older version, change nothing that is read.
        with suppress(CheckpointError):
            arrays, metadata = load(path)
            assert metadata == {"step": 1, "names": ["a"]}
            assert arrays.keys() == {"a"}
            assert_same(arrays["a"], np.arange(3))

    def test_a_wrong_bit_anywhere_in_a_small_file(self, path: Path) -> None:
        save(path, {"a": np.arange(3, dtype=np.float32), "b": np.ones(0)}, {"step": 1, "": None})
        whole = path.read_bytes()
        for bit in range(8 * len(whole)):
            data = bytearray(whole)
            data[bit // 8] ^= 1 << bit % 8
            path.write_bytes(data)
            with pytest.raises(CheckpointError, match=r"model\.safetensors"):
                load(path)

    def test_a_wrong_number(self, path: Path) -> None:
        save(path, {"a": np.ones(5_000)}, {})
        data = path.read_bytes()
        path.write_bytes(data[:-20_001] + b"\x01" + data[-20_000:])
        with pytest.raises(CheckpointError, match=r"damaged: .* do not match their checksum$"):
            load(path)

    @pytest.mark.skipif(os.name == "nt", reason="Windows has no named pipes in folders")
    def test_a_pipe_is_not_waited_for(self, path: Path) -> None:
        os.mkfifo(path)
        with pytest.raises(CheckpointError, match=r"model\.safetensors .* a pipe or a device"):
            load(path)

    def test_a_file_without_the_right_to_read_it(
        self, path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        save(path, {}, {})

        def denied(*args: Any, **settings: Any) -> None:
            raise PermissionError(13, "Permission denied")

        monkeypatch.setattr("safetensors.safe_open", denied)
        with pytest.raises(CheckpointError, match="cannot be read: Permission denied"):
            load(path)

    def test_a_long_text_in_the_file_is_not_quoted_in_full(self, path: Path) -> None:
        from safetensors.numpy import save_file

        save_file({}, path, {"format": "tinytorch", "version": "9" * 10**5})
        with pytest.raises(CheckpointError) as caught:
            load(path)
        assert len(str(caught.value)) < 400 + len(str(path))

    @pytest.mark.parametrize(
        ("metadata", "message"),
        [
            (None, "not a TinyTorch checkpoint"),
            ({"format": "pt"}, "not a TinyTorch checkpoint"),
            ({"format": "tinytorch"}, "version None"),
            ({"format": "tinytorch", "version": "3"}, "of version 3, .* reads versions 1 and 2"),
            ({"format": "tinytorch", "version": "2"}, "do not match their checksum"),
            ({"format": "tinytorch", "version": "1", "step": "{"}, "cannot be read"),
            ({"format": "tinytorch", "version": "1", "step": "[" * 10**5}, "cannot be read"),
        ],
    )
    def test_files_of_other_programs_and_versions(
        self, path: Path, metadata: dict[str, str] | None, message: str
    ) -> None:
        from safetensors.numpy import save_file

        save_file({"a": np.ones(2)}, path, metadata)
        with pytest.raises(CheckpointError, match=f"model.safetensors .*{message}"):
            load(path)

    def test_a_dtype_that_numpy_lacks(self, path: Path) -> None:
        header = json.dumps(
            {
                "__metadata__": {"format": "tinytorch", "version": "1"},
                "a": {"dtype": "BF16", "shape": [1], "data_offsets": [0, 2]},
            }
        ).encode()
        path.write_bytes(len(header).to_bytes(8, "little") + header + b"\0\0")
        with pytest.raises(CheckpointError, match=r"model\.safetensors"):
            load(path)


class TestAtomicity:
    """After any failure the old checkpoint is unchanged and no temporary file is left."""

    @pytest.fixture
    def old(self, path: Path) -> bytes:
        save(path, {"a": np.zeros(1000)}, {"step": 1})
        return path.read_bytes()

    def fails(self, path: Path, old: bytes, message: str) -> None:
        with pytest.raises(CheckpointError, match=message):
            save(path, {"a": np.ones(100_000)}, {"step": 2})
        assert path.read_bytes() == old
        assert list(path.parent.iterdir()) == [path]

    @pytest.mark.parametrize("step", ["fsync", "replace"])
    def test_a_full_disk(
        self, path: Path, old: bytes, monkeypatch: pytest.MonkeyPatch, step: str
    ) -> None:
        def full(*args: Any) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(os, step, full)
        self.fails(path, old, r"model\.safetensors was not written: No space left on device$")

    def test_a_write_that_fails_midway(self, path: Path, old: bytes) -> None:
        resource = pytest.importorskip("resource", reason="this system has no file-size limit")
        limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
        try:
            self.fails(path, old, "was not written: File too large")
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)

    def test_an_interrupt(self, path: Path, old: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
        def interrupt(descriptor: int) -> None:
            raise KeyboardInterrupt

        monkeypatch.setattr(os, "fsync", interrupt)
        with pytest.raises(KeyboardInterrupt):
            save(path, {"a": np.ones(3)}, {})
        assert path.read_bytes() == old
        assert list(path.parent.iterdir()) == [path]

    def test_the_data_is_synced_before_the_rename(
        self, path: Path, old: bytes, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        calls: list[str] = []
        for name in ("fsync", "replace"):
            real = getattr(os, name)

            def spy(*args: Any, name: str = name, real: Any = real) -> Any:
                calls.append(name)
                return real(*args)

            monkeypatch.setattr(os, name, spy)
        save(path, {"a": np.ones(3)}, {})
        assert calls[:2] == ["fsync", "replace"]

    def test_a_folder_that_cannot_be_synced_is_not_an_error(
        self, path: Path, old: bytes, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        real = os.open

        def windows(name: Any, *args: Any, **kwargs: Any) -> int:
            if Path(name) == path.parent:
                raise PermissionError(13, "Permission denied")
            return real(name, *args, **kwargs)

        monkeypatch.setattr(os, "open", windows)
        save(path, {"a": np.ones(3)}, {})
        assert_same(load(path)[0]["a"], np.ones(3))

    def test_a_missing_folder(self, tmp_path: Path) -> None:
        with pytest.raises(CheckpointError, match=r"gone.*was not written: No such file"):
            save(tmp_path / "gone" / "a.safetensors", {}, {})

    def test_a_file_in_place_of_the_folder(self, path: Path, old: bytes) -> None:
        with pytest.raises(CheckpointError, match="was not written"):
            save(path / "a.safetensors", {}, {})
        assert path.read_bytes() == old

    def test_a_folder_in_place_of_the_file(self, tmp_path: Path) -> None:
        target = tmp_path / "folder"
        target.mkdir()
        with pytest.raises(CheckpointError, match="was not written"):
            save(target, {}, {})
        assert list(tmp_path.rglob("*")) == [target]

    def test_a_path_with_a_nul(self) -> None:
        with pytest.raises(CheckpointError, match="was not written"):
            save("a\0b", {}, {})

    def test_a_relative_path(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(tmp_path)
        save("a.safetensors", {"a": np.ones(3)}, {})
        assert [path.name for path in tmp_path.iterdir()] == ["a.safetensors"]

    @pytest.mark.skipif(os.name == "nt", reason="links need a privilege on Windows")
    def test_a_link_stays_a_link(self, path: Path, old: bytes, tmp_path: Path) -> None:
        link = tmp_path / "latest"
        link.symlink_to(path.name)
        save(link, {"a": np.ones(3)}, {})
        assert link.is_symlink()
        assert_same(load(path)[0]["a"], np.ones(3))

    @pytest.mark.skipif(os.name == "nt", reason="Windows has no such modes")
    def test_a_new_file_has_the_permissions_of_the_umask(self, path: Path) -> None:
        mask = os.umask(0o022)
        try:
            save(path, {}, {})
        finally:
            os.umask(mask)
        assert path.stat().st_mode & 0o777 == 0o644


# Saves 1, 2, 3, ... forever; a file is consistent if all its numbers are equal.
SAVE_FOREVER = """
import itertools, sys
import numpy as np
from tinytorch.serialization.checkpoint import save
for i in itertools.count(1):
    save(sys.argv[1], {"a": np.full(500_000, i), "b": np.full(500_000, i)}, {"step": i})
    print(i, flush=True)
"""

# Kills itself during a save: after writing the bytes, or before the rename.
KILL_ITSELF = """
import os, signal, sys
import numpy as np
from tinytorch.serialization.checkpoint import save
def die(*args):
    os.kill(os.getpid(), getattr(signal, "SIGKILL", signal.SIGTERM))
save(sys.argv[1], {"a": np.full(10, 1)}, {"step": 1})
setattr(os, sys.argv[2], die)
save(sys.argv[1], {"a": np.full(10, 2)}, {"step": 2})
"""


@pytest.mark.slow
class TestKill:
    @pytest.mark.parametrize("step", ["fsync", "replace"])
    def test_a_process_killed_during_a_save_leaves_the_old_file(
        self, path: Path, step: str
    ) -> None:
        killed = subprocess.run([sys.executable, "-c", KILL_ITSELF, str(path), step])
        assert killed.returncode != 0
        arrays, metadata = load(path)
        assert metadata == {"step": 1}
        assert arrays["a"].tolist() == [1] * 10
        save(
            path, {"a": np.full(10, 3)}, {"step": 3}
        )  # the temporary file left behind does no harm
        assert load(path)[1] == {"step": 3}

    @pytest.mark.parametrize("delay", [0.001, 0.004, 0.009, 0.016])
    def test_a_process_killed_at_any_time_leaves_a_complete_file(
        self, path: Path, delay: float
    ) -> None:
        command = [sys.executable, "-c", SAVE_FOREVER, str(path)]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            process.stdout.readline()  # the first save is complete, the second is running
            time.sleep(delay)
            process.kill()
        arrays, metadata = load(path)
        assert metadata["step"] >= 1
        assert set(arrays["a"]) == set(arrays["b"]) == {metadata["step"]}


class TestRandomState:
    @pytest.mark.parametrize("name", ["PCG64", "PCG64DXSM", "MT19937", "Philox", "SFC64"])
    def test_a_restored_generator_continues_the_sequence(self, path: Path, name: str) -> None:
        generator = np.random.Generator(getattr(np.random, name)(5))
        generator.random(3)
        generator.integers(9, size=3, dtype=np.uint32)  # leaves half a word buffered
        save(path, {}, {"rng": rng_state(generator)})
        restored = restore_rng(load(path)[1]["rng"])
        for _ in range(2):
            expected = generator.integers(9, size=5, dtype=np.uint32)
            np.testing.assert_array_equal(restored.integers(9, size=5, dtype=np.uint32), expected)
            np.testing.assert_array_equal(restored.random(1000), generator.random(1000))

    def test_the_state_is_a_copy(self) -> None:
        generator = np.random.Generator(np.random.MT19937(5))
        state = rng_state(generator)
        expected = generator.random(5).tolist()
        assert restore_rng(state).random(5).tolist() == expected
        assert restore_rng(state).random(5).tolist() == expected

    def test_integers_of_128_bits_are_kept(self) -> None:
        state = rng_state(np.random.default_rng(0))
        assert state["state"]["state"].bit_length() > 64
        assert json.loads(json.dumps(state)) == state

    @pytest.mark.parametrize(
        "state",
        [
            {},
            {"bit_generator": "default_rng"},
            {"bit_generator": "Generator"},
            {"bit_generator": ["PCG64"]},
            {"bit_generator": "PCG64"},
            {"bit_generator": "PCG64", "state": 3},
            {"bit_generator": "MT19937", "state": {"key": [1], "pos": 0}},
            {
                "bit_generator": "PCG64",
                "state": {"state": -1, "inc": 1},
                "has_uint32": 0,
                "uinteger": 0,
            },
            [],
            None,
        ],
    )
    def test_anything_but_a_state_is_an_error(self, state: Any) -> None:
        with pytest.raises(CheckpointError, match=r"bit generator|not the state"):
            restore_rng(state)

    def test_a_third_party_bit_generator_is_an_error(self) -> None:
        generator: Any = SimpleNamespace(
            bit_generator=SimpleNamespace(state={"bit_generator": "X"})
        )
        with pytest.raises(CheckpointError, match="unknown bit generator 'X'"):
            rng_state(generator)


def test_safetensors_is_imported_on_first_use() -> None:
    code = (
        "import sys, tinytorch.serialization.checkpoint\n"
        "assert not [name for name in sys.modules if name.startswith('safetensors')]"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_errors_are_value_errors() -> None:
    assert issubclass(checkpoint.CheckpointError, ValueError)
