"""Recipes that are no TOML, or whose keys and values are none that a run can follow."""

from pathlib import Path

from bad_input.shared import class_folders, table, train

ROWS, row = table()


def recipe(content):
    class_folders()
    Path("r.toml").write_bytes(content if isinstance(content, bytes) else content.encode())
    return train("set", "-c", "r.toml")


RECIPES = {
    "an unknown key": ("[train]\nepoch = 3", "Did you mean 'epochs'"),
    "an unknown section": ("[trian]\nepochs = 3", "Did you mean 'train'"),
    "a wrong type": ('[train]\nbatch_size = "many"', "train.batch_size"),
    "a true for a number": ("[train]\nbatch_size = true", "train.batch_size"),
    "a number out of range": ("[train]\nbatch_size = 0", "train.batch_size"),
    "a number beyond all ranges": (f"seed = {10**30}", "seed"),
    "a rate that is no number": ("[optimizer]\nmomentum = nan", "optimizer.momentum"),
    "an unknown choice": ('[data]\non_leak = "ignore"', "data.on_leak"),
    "a section that is a number": ("train = 3", "train"),
    "an unknown transform": ('[augment]\ntrain = [{ op = "Blurr" }]', "Blurr"),
    "pictures of different sizes": ('[augment]\ntrain = [{ op = "HorizontalFlip" }]', "Cure"),
    "broken TOML": ("[train\nepochs = 3", "not valid TOML"),
    "a key twice": ("[train]\nepochs = 3\nepochs = 4", "not valid TOML"),
    "a key of another section": ("[train]\nlr = 0.1", "unknown key train.lr: expected one of train_from"),
    "a batch of one to be mixed": (
        "[train]\nbatch_size = 1\n[mix]\nmixup = 0.2",
        "Cure: a train.batch_size of 2 or more",
    ),
    "an alpha below 0": ("[mix]\nmixup = -0.2", "mix.mixup = -0.2"),
    "an alpha beyond all use": ("[mix]\ncutmix = 1001", "mix.cutmix = 1001: expected at most 1,000"),
    "a chance above 1": ("[mix]\nmixup = 0.2\np = 1.5", "mix.p = 1.5"),
    "mean and std of bytes": (
        '[augment]\neval = [{ op = "Normalize", mean = [127.5, 127.5, 127.5], std = [127.5, 127.5, 127.5] }]',
        "Cure: divide by 255: mean = [0.5, 0.5, 0.5], std = [0.5, 0.5, 0.5]",
    ),
    "a Windows path": (r'data.source = "C:\Users\me"', r"Cure: single quotes, 'C:\Users\me'"),
    "a Windows path of escapes": (r'data.source = "C:\temp"', r"Cure: single quotes, 'C:\temp'"),
    "UTF-16": ("seed = 1".encode("utf-16"), "it is UTF-16. Cure: save it as UTF-8"),
    "no text": (b"\xff\xfe\x00", "cannot be read"),
    "a zero byte": (b"seed = 1\x00", "not valid TOML"),
    "nested too deep": ("seed = " + "[" * 50_000, "not valid TOML"),
    "a date": ("seed = 2024-01-01", "no recipe needs"),
    "a megabyte of brackets": ("x = [" + "[],\n" * 250_000, "not valid TOML"),
    "a huge list": ("seed = [" + "1," * 300_000 + "]", "seed"),
    "an endless name": (f"{'x' * 100_000} = 1", "unknown key"),
}
for name, (content, message) in RECIPES.items():
    row(f"recipe: {name}", message)(lambda here, content=content: recipe(content))


@row("a recipe that is a folder", "cannot be read")
def _(here):
    class_folders()
    Path("r.toml").mkdir()
    return train("set", "-c", "r.toml")
