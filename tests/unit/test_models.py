"""Float networks by name: where weights come from, what they are built with, what is refused."""

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from vitrtl.sw.cli import main
from vitrtl.sw.errors import UserError
from vitrtl.sw.network import load as load_network
from vitrtl.sw.ptq.models import build
from vitrtl.sw.ptq.origin import float_model_of

NAME = "deit_tiny_patch16_224"
SIZE = {"image_size": (32, 48), "classes": 3}


@pytest.fixture(scope="module")
def model():
    return build(NAME, random_weights=5, **SIZE)


def test_a_seed_decides_the_weights_and_nothing_else(model):
    before = torch.random.get_rng_state()
    again, other = (build(NAME, random_weights=seed, **SIZE) for seed in (5, 6))
    assert torch.equal(torch.random.get_rng_state(), before)
    assert model.digest == again.digest != other.digest
    assert model.weights == "random, seed 5"
    assert model.options == {"random_weights": 5, "image_size": [32, 48], "classes": 3}
    assert model.input_shape == (3, 32, 48) and model.classes == 3
    assert model.preprocessing.asdict() == {"shape": [3, 32, 48], "interpolation": "bicubic",
                                            "crop_pct": 0.9, "crop_mode": "center"}


@pytest.mark.parametrize("wrap", [
    lambda state: state, lambda state: {"model": state, "epoch": 3},
    lambda state: {"state_dict": {f"module.{key}": value for key, value in state.items()}}])
def test_checkpoints_of_torch_are_read_wherever_the_weights_lie(model, wrap, tmp_path):
    torch.save(wrap(model.module.state_dict()), tmp_path / "weights.pth")
    loaded = build(NAME, tmp_path / "weights.pth", **SIZE)
    assert loaded.digest == model.digest and loaded.weights == "weights.pth"


def test_a_checkpoint_of_another_image_size_is_resized(tmp_path):
    model = build(NAME, random_weights=5, image_size=(32, 32), classes=3)
    save_file(model.module.state_dict(), tmp_path / "weights.safetensors")
    larger = build(NAME, tmp_path / "weights.safetensors", **SIZE)
    assert larger.input_shape == (3, 32, 48)
    assert torch.equal(larger.module.head.weight, model.module.head.weight)


class Bomb:
    """Something that a pickle would run."""

    def __reduce__(self):
        return print, ("run",)


def test_code_in_a_checkpoint_is_not_run(model, tmp_path, capsys):
    torch.save({"model": model.module.state_dict(), "more": Bomb()}, tmp_path / "weights.pth")
    with pytest.raises(UserError, match=r"weights\.pth must hold tensors and nothing that has to "
                                        r"be run: it asks for builtins\.print$"):
        build(NAME, tmp_path / "weights.pth", **SIZE)
    assert capsys.readouterr().out == ""


def test_files_that_are_no_weights_are_refused(model, tmp_path):
    (tmp_path / "text.pth").write_text("hello")
    torch.save({"model": {"head.weight": "text"}}, tmp_path / "strings.pth")
    torch.save(model.module.state_dict(), tmp_path / "three.pth")
    for file, message in [("text.pth", "is not a file of torch.save: "),
                          ("strings.pth", "must hold tensors by name, but head.weight is a str$"),
                          ("three.pth", r"must have shape \(1000, 192\), not \(3, 192\)$")]:
        with pytest.raises(UserError, match=message):
            build(NAME, tmp_path / file, image_size=(32, 48))


@pytest.mark.parametrize("arguments, options, message", [
    ((NAME,), {}, "must come from --checkpoint FILE, --pretrained or --random-weights SEED$"),
    ((NAME, "file"), {"random_weights": 1},
     "^weights must come from --checkpoint FILE or from --random-weights SEED, not from both$"),
    (("digits_vit",), {"classes": 3}, "^digits_vit has shipped weights, an image size and classes"),
    ((NAME,), {"random_weights": 0, "image_size": (30, 30)},
     "^image size must be whole patches of 16 x 16, not 30 x 30$"),
    ((NAME,), {"random_weights": 0, "classes": 0}, "^classes must be at least 1, not 0$"),
    (("vit_none",), {"random_weights": 0}, "^model must be digits_vit.* or a name of timm"),
])
def test_what_cannot_be_built_is_refused(arguments, options, message):
    with pytest.raises(UserError, match=message):
        build(*arguments, **options)


def test_commands_take_a_checkpoint_and_a_folder(tmp_path, capsys, model):
    random = np.random.default_rng(0)
    for name in ("cat", "dog", "owl"):
        (tmp_path / "data" / name).mkdir(parents=True)
        for i in range(5):
            pixels = random.integers(0, 256, (40, 60, 3)).astype(np.uint8)
            Image.fromarray(pixels).save(tmp_path / "data" / name / f"{i}.png")
    save_file(model.module.state_dict(), tmp_path / "weights.safetensors")
    source = ["--checkpoint", str(tmp_path / "weights.safetensors"),
              "--data", str(tmp_path / "data")]
    out = str(tmp_path / "out")
    assert main(["quantize", NAME, *source, "--image-size", "32x48", "--classes", "3", "--images",
                 "4", "--ptq", "none", "--out", out]) == 0
    network = load_network(tmp_path / "out")
    assert network.provenance["weights"] == "weights.safetensors"
    assert network.provenance["preprocessing"]["shape"] == [3, 32, 48]
    assert main(["eval", out, *source]) == 0
    printed = capsys.readouterr().out
    assert "3 of " in printed and "integer accuracy" in printed and "same class" in printed
    assert main(["eval", out]) == 0
    assert "must be given" in " ".join(capsys.readouterr().out.split())
    (tmp_path / "data" / "cat" / "0.png").unlink()
    assert main(["eval", out]) == 2
    assert "was calibrated on other images" in capsys.readouterr().err


def test_commands_say_that_weights_are_random(tmp_path, capsys):
    out = str(tmp_path / "out")
    assert main(["quantize", NAME, "--random-weights", "5", "--image-size", "32x48", "--classes",
                 "3", "--images", "4", "--ptq", "none", "--out", out]) == 0
    assert "random weights: what this network classifies means nothing" in capsys.readouterr().out
    network = load_network(tmp_path / "out")
    assert network.provenance["data"] == "random"
    assert network.provenance["weights"] == "random, seed 5"
    assert float_model_of(network).options["random_weights"] == 5
    assert main(["eval", out, "--images", "2"]) == 0
    printed = capsys.readouterr().out
    assert "random, seed 5" in printed and "2 of random" in printed
    assert "integer accuracy" not in printed and "same class as float" in printed
    assert main(["eval", out, "--images", "0"]) == 2
    assert "test images must be 1..256" in capsys.readouterr().err
    assert main(["quantize", NAME, "--random-weights", "0", "--image-size", "32,48"]) == 2
    assert "image size must be pixels, such as 224 or 192x256" in capsys.readouterr().err
