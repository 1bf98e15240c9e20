"""Messages of the page: what they return, and errors in one sentence."""

import base64
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tinytorch.inspection import Session, nearest_neighbours, probabilities, record, text_loss
from tinytorch.inspection import views as module
from tinytorch.inspection.live_training import LiveTraining
from tinytorch.tinygpt import load_model
from tinytorch.transformers import GPT

IDS = [2, 5, 1, 7, 7, 3]  # "ad ffb"
TEXT = "a cab had a bad idea; " * 40


def ask(session: Session, name: str, /, **arguments: Any) -> Any:
    reply = json.loads(session.handle(json.dumps({"do": name, **arguments})))
    assert "error" not in reply, reply
    return reply["result"]


def error(session: Session, message: Any) -> str:
    text = message if isinstance(message, str) else json.dumps(message)
    reply = json.loads(session.handle(text))
    assert [*reply] == ["error"]
    sentence: str = reply["error"]
    assert "\n" not in sentence
    return sentence


def test_about(session: Session, run: Path, model: GPT) -> None:
    about = ask(session, "about")
    assert about == {
        "name": run.name, "training": "", "blocks": 2, "heads": 2, "width": 8,
        "parameters": model.num_parameters(),
        "vocabulary": 12, "context": 16, "characters": True, "backend": model.backend.name,
        "example": "\nha i  ",
    }  # fmt: skip


def test_encode_gives_ids_and_texts(session: Session) -> None:
    assert ask(session, "encode", text="ad ffb") == {"ids": IDS, "tokens": [*"ad ffb"]}


def test_next_is_the_models_distribution(session: Session, model: GPT) -> None:
    p = probabilities(model(module_tensor(IDS)).numpy()[0, -1], 0.7, 5)
    reply = ask(session, "next", ids=IDS, temperature=0.7, top_k=5, count=3)
    assert [t["id"] for t in reply["top"]] == np.argsort(-p)[:3].tolist()
    np.testing.assert_allclose([t["p"] for t in reply["top"]], np.sort(p)[:-4:-1], rtol=1e-5)
    assert reply["choices"] == 5
    positive = p[p > 0]
    assert reply["entropy"] == pytest.approx(-(positive * np.log2(positive)).sum(), rel=1e-5)
    assert ask(session, "next", ids=IDS, temperature=0)["entropy"] == 0


def module_tensor(ids: list[int]) -> Any:
    from tinytorch import Tensor

    return Tensor([ids])


def test_attention_arrives_as_integers_of_two_bytes(session: Session, model: GPT) -> None:
    reply = ask(session, "attention", ids=IDS, block=1)
    data = np.frombuffer(base64.b64decode(reply["weights"]), "<u2").reshape(2, 6, 6)
    np.testing.assert_allclose(data / 65535, record(model, IDS).attention[1], atol=1e-5)
    first, last = ask(session, "attention", ids=[1], block=0), ask(session, "attention", ids=IDS,
                                                                 block=1)  # fmt: skip
    assert base64.b64decode(first["weights"]) == b"\xff\xff" * 2
    assert last == reply


def test_views_see_a_head_that_is_knocked_out(session: Session) -> None:
    whole = ask(session, "attention", ids=IDS, block=1)
    assert ask(session, "attention", ids=IDS, block=1, heads=[[0, 0]]) != whole
    assert ask(session, "attention", ids=IDS, block=1, heads=[]) == whole


def test_lens_has_a_row_for_the_embedding_and_each_block(session: Session, model: GPT) -> None:
    layers = ask(session, "lens", ids=IDS, count=2)["layers"]
    assert [len(layer["top"]) for layer in layers] == [6, 6, 6]
    last, expected = layers[-1]["top"][-1], ask(session, "next", ids=IDS, count=2)["top"]
    assert [t["id"] for t in last] == [t["id"] for t in expected]
    assert last[1]["p"] == pytest.approx(expected[1]["p"], rel=1e-5)
    p = probabilities(model(module_tensor(IDS)).numpy()[0])
    follow = [p[t, IDS[t + 1]] for t in range(5)]
    np.testing.assert_allclose(layers[-1]["target"][:-1], follow, rtol=1e-4)
    assert layers[-1]["target"][-1] is None


def test_ablation_has_two_sides(session: Session, model: GPT) -> None:
    reply = ask(session, "ablation", ids=IDS, heads=[[1, 0]])
    effects = ask(session, "effects", ids=IDS)["effects"]
    assert reply["whole"]["loss"] == pytest.approx(text_loss(model, IDS))
    difference = reply["without"]["loss"] - reply["whole"]["loss"]
    assert difference == pytest.approx(effects[1][0])
    assert reply["whole"]["top"] == ask(session, "next", ids=IDS, count=8)["top"]
    assert reply["without"]["top"] != reply["whole"]["top"]
    assert ask(session, "ablation", ids=[3], heads=[])["whole"]["loss"] is None


def test_neighbours_and_plane(session: Session, model: GPT) -> None:
    reply = ask(session, "neighbours", token=2, count=3)
    assert reply["text"] == "a"
    assert len(reply["neighbours"]) == 3
    assert 2 not in [near["id"] for near in reply["neighbours"]]
    plane = ask(session, "plane")
    assert np.shape(plane["points"]) == (12, 2)
    assert "".join(plane["tokens"]) == "\n abcdefghij"
    assert 0 < plane["share"] <= 1
    predicted = ask(session, "neighbours", token=2, matrix="head", count=1)["neighbours"][0]
    [(nearest, cosine)] = nearest_neighbours(model.head.weight.numpy(), 2, count=1)
    assert (predicted["id"], predicted["cosine"]) == (nearest, pytest.approx(cosine))
    assert predicted != reply["neighbours"][0]
    assert ask(session, "plane", matrix="head") != plane


def test_writing_is_what_generate_writes(session: Session, model: GPT) -> None:
    expected = model.generate(IDS, 8, temperature=0.9, top_k=7, seed=4).tolist()
    ids, settings = IDS, {"temperature": 0.9, "top_k": 7}
    for step in range(8):
        reply = ask(session, "write", ids=ids, **settings, seed=None if step else 4)
        p = ask(session, "next", ids=ids, **settings, count=12)
        assert reply["top"][0]["p"] == pytest.approx(p["top"][0]["p"], rel=1e-4)
        assert reply["p"] == pytest.approx(
            next(t["p"] for t in p["top"] if t["id"] == reply["id"]), rel=1e-3
        )
        ids = [*ids, reply["id"]]
    assert ids == expected
    assert reply["text"] == session.tokenizer.decode(expected)


def test_writing_follows_a_change_of_settings_text_and_heads(session: Session) -> None:
    """After each change the token comes from the new distribution: the likeliest one."""
    ask(session, "write", ids=IDS, seed=1)
    for ids, heads in ((IDS, [[0, 0]]), (IDS, []), ([4, 4], []), (IDS, [[1, 0], [1, 1]])):
        likeliest = ask(session, "next", ids=ids, heads=heads)["top"][0]["id"]
        reply = ask(session, "write", ids=ids, heads=heads, temperature=0)
        assert (reply["id"], reply["p"]) == (likeliest, 1.0)


def test_a_checkpoint_is_opened_and_a_wrong_file_changes_nothing(
    session: Session, run: Path
) -> None:
    data = (run / "checkpoint.safetensors").read_bytes()
    empty = Session()
    for broken in (b"", b"PK\3\4" * 50, data[:-9], data[:-1] + bytes([data[-1] ^ 1])):
        content = base64.b64encode(broken).decode()
        message = error(empty, {"do": "open", "name": "my.safetensors", "data": content})
        assert message.startswith("my.safetensors is ")
        assert "/" not in message
        assert error(session, {"do": "open", "name": "m", "data": content})
    assert "open a checkpoint.safetensors" in error(empty, {"do": "about"})
    opened = ask(empty, "open", name="mine", data=base64.b64encode(data).decode())
    assert opened == {**ask(session, "about"), "name": "mine"}
    assert ask(session, "next", ids=IDS) == ask(empty, "next", ids=IDS)


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("{", "not a message of this page: '{'"),
        ("[]", "not a message of this page: '[]'"),
        ('{"do": "delete"}', "not a message"),
        ('{"do": ["next"]}', "not a message"),
        ({"do": "next"}, "the message 'next' has other arguments: missing a required argument"),
        ({"do": "about", "path": "/etc"}, "got an unexpected keyword argument 'path'"),
        ({"do": "encode", "text": "café"}, "does not know 'é': its 12 characters are"),
        ({"do": "encode", "text": "\ud800"}, "the model does not know '\\ud800'"),
        ({"do": "encode", "text": ""}, "the text is empty: type at least one character"),
        ({"do": "encode", "text": "a" * 17}, "has 17 tokens, and the model reads at most 16"),
        ({"do": "encode", "text": 5}, "text must be a text, not 5"),
        ({"do": "next", "ids": "ab"}, "ids must be a list of tokens, not 'ab'"),
        ({"do": "next", "ids": [12]}, "a token must be in [0, 11], not 12"),
        ({"do": "next", "ids": [1.5]}, "a token must be an integer, not 1.5"),
        ({"do": "next", "ids": [1], "temperature": -1}, "temperature must be at least 0, not -1"),
        ({"do": "next", "ids": [1], "temperature": "hot"}, "temperature must be a number"),
        ({"do": "next", "ids": [1], "top_k": 0}, "top_k must be at least 1, not 0"),
        ({"do": "next", "ids": [1], "heads": [[2, 0]]}, "block must be in [0, 1], not 2"),
        ({"do": "next", "ids": [1], "heads": [[0]]}, "heads must be pairs [block, head]"),
        ({"do": "attention", "ids": [1], "block": 2}, "block must be in [0, 1], not 2"),
        ({"do": "effects", "ids": [1]}, "a loss needs a text of at least two tokens"),
        ({"do": "plane", "matrix": "x"}, "matrix must be one of embedding, head, not 'x'"),
        ({"do": "neighbours", "token": -1}, "token must be in [0, 11], not -1"),
        ({"do": "write", "ids": [1] * 16}, "fills the model's context of 16 tokens: shorten it"),
        ({"do": "open", "name": "x", "data": "%"}, "the file's bytes are not in base64"),
        ({"do": "train"}, "no training has been started"),
        ({"do": "start_training", "text": "short"}, "the text is too short: its training part has"),
        ({"do": "start_training", "text": TEXT, "size": "huge"}, "size must be one of small,"),
        ({"do": "start_training", "text": TEXT, "steps": 0}, "steps must be in [10, 10000], not 0"),
    ],
)
def test_mistakes_are_one_sentence(session: Session, message: Any, expected: str) -> None:
    assert expected in error(session, message)
    assert ask(session, "encode", text="a")  # the session goes on


def test_an_error_of_the_library_is_a_sentence_and_a_traceback(
    session: Session, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(module, "record", lambda model, ids: {}["lost"])
    assert error(session, {"do": "next", "ids": [1]}) == "an error of TinyTorch: KeyError: 'lost'"
    assert "Traceback" in capsys.readouterr().err


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # what NumPy says of overflows
@pytest.mark.parametrize(
    "message",
    [
        {"do": "next", "ids": IDS}, {"do": "lens", "ids": IDS}, {"do": "effects", "ids": IDS},
        {"do": "ablation", "ids": IDS, "heads": [[0, 0]]},
        {"do": "attention", "ids": IDS, "block": 0}, {"do": "neighbours", "token": 1},
        {"do": "plane"}, {"do": "write", "ids": [1]},
    ],
    ids=lambda message: message["do"],
)  # fmt: skip
def test_a_model_with_nan_is_a_sentence(session: Session, message: dict[str, Any]) -> None:
    weight = session.model.embedding.tokens.weight
    weight.data = weight * np.nan
    sentence = error(session, message)
    assert "not finite" in sentence or "The model has diverged" in sentence


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_weights_that_are_too_large_are_a_sentence(session: Session) -> None:
    """The loss is infinite, which JSON has no number for."""
    session.model.ln_f.weight.data = session.model.ln_f.weight * 1e38
    assert "too large, or damaged" in error(session, {"do": "effects", "ids": IDS})


def test_training_lowers_the_loss_and_its_model_is_looked_into(
    session: Session, tmp_path: Path
) -> None:
    started = ask(session, "start_training", text=TEXT, steps=41)
    assert started["steps"] == 41
    assert started["vocabulary"] == len({*TEXT})
    first = ask(session, "train", steps=20)
    assert (first["step"], len(first["losses"]), first["finished"]) == (20, 20, False)
    assert ask(session, "train")["validation"] is None
    last = ask(session, "train", steps=100)  # up to the end
    assert (last["step"], len(last["losses"]), last["finished"]) == (41, 20, True)
    assert last["losses"][-1] < 0.5 * first["losses"][0]
    assert last["validation"] < first["validation"]
    assert ask(session, "train")["losses"] == []
    assert len(ask(session, "sample", length=30)["text"]) == 31
    about = ask(session, "look_into_trained")
    assert (about["name"], about["parameters"]) == ("your text, 41 steps", started["parameters"])
    assert ask(session, "encode", text="a bad idea")["ids"]
    saved = ask(session, "trained")
    (tmp_path / saved["name"]).write_bytes(base64.b64decode(saved["data"]))
    loaded, _ = load_model(tmp_path / saved["name"])
    assert loaded.num_parameters() == started["parameters"]


def test_the_same_seed_trains_the_same_model() -> None:
    losses = [LiveTraining(TEXT, seed=seed).advance(3)[0] for seed in (1, 1, 2)]
    assert losses[0] == losses[1] != losses[2]
