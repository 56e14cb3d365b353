"""TOML without end, too deep, or of numbers that no machine can follow: recipes, and studies."""

from collections.abc import Iterator

from hostile.damage import DAMAGES, Content, damaged, written
from hostile.ground import PLAIN, Call, slots, where

TOML: dict[str, Content] = {
    "deep list": lambda random: b"seed = " + b"[" * 400_000,
    "deep list, closed": lambda random: b"seed = " + b"[" * 50_000 + b"]" * 50_000,
    "deep table": lambda random: b"a" + b".a" * 100_000 + b" = 1",
    "deep header": lambda random: b"[a" + b".a" * 100_000 + b"]\nb = 1",
    "deep inline table": lambda random: b"a = " + b"{a = " * 20_000 + b"1" + b"}" * 20_000,
    "a million keys": lambda random: b"".join(b"k%d = 1\n" % i for i in range(1_000_000)),
    "keys below the limit": lambda random: b"".join(b"k%d = 1\n" % i for i in range(90_000)),
    "headers that grow": lambda random: b"".join(b"[a%s]\n" % (b".b" * i) for i in range(900)),
    "tables without end": lambda random: b"[[phases]]\nepochs = 1\n" * 40_000,
    "transforms without end": lambda random: b"augment.train = [" + b'{op="HorizontalFlip"},' * 40_000 + b"]",
    "a number of digits": lambda random: b"seed = " + b"9" * 900_000,
    "a hexadecimal number": lambda random: b"seed = 0x" + b"f" * 900_000,
    "a float of digits": lambda random: b"optimizer.lr = 0." + b"1" * 900_000,
    "underscores": lambda random: b"seed = 1" + b"_1" * 400_000,
    "a text": lambda random: b'data.source = "' + b"x" * 900_000 + b'"',
    "a date": lambda random: b"seed = 9999-12-31T23:59:59.999999-23:59",
    "escapes": lambda random: b'data.source = "\\u0000\\u001b[31m"',
    "a null": lambda random: b"seed = 1\0",
    "UTF-16": lambda random: "seed = 1".encode("utf-16"),
    "UTF-32": lambda random: "seed = 1".encode("utf-32"),
    "quotes": lambda random: b"a = '''" + b"'" * 900_000,
    "carriage returns": lambda random: b"\r" * 900_000,
    "classes without end": lambda random: b"[loss]\nclass_weights = [" + b"1.0," * 200_000 + b"]",
    "suffixes without end": lambda random: b"[data]\nsuffixes = [" + b'".x",' * 150_000 + b"]",
    "a pattern": lambda random: b"[augment]\ntrain = [" + b'{op="Resize",size=1000000},' * 100 + b"]",
    "layers": lambda random: b'model = { arch = "resnet50", layers = [1, 1, 1, 1000000000] }',
    "extra": lambda random: b'model = { arch = "convnet", extra = [1000000000, 1000000000] }',
    "extras": lambda random: b'model = { arch = "convnet", extra = [' + b"1," * 200_000 + b"] }",
    "epochs": lambda random: b"train.epochs = 1000000000000",
    "views": lambda random: b"train.views = 1000000000000",
    "size": lambda random: b"augment.size = 1000000000",
    "batch": lambda random: b"train.batch_size = 9223372036854775807",
    "workers": lambda random: b"data.workers = 1000000",
}  # fmt: skip
HEAD, MODE = b'backends=["numpy"]\n', b'[modes.a]\nrecipe = "recipe.toml"\n'
STUDIES: dict[str, Content] = {
    "seeds": lambda random: HEAD + b"seeds = 1000000000000\n" + MODE,
    "seeds listed": lambda random: HEAD + b"seeds = [" + b",".join(b"%d" % i for i in range(100_000)) + b"]\n" + MODE,
    "modes": lambda random: HEAD + b"".join(MODE.replace(b".a", b".m%d" % i) for i in range(20_000)),
    "itself": lambda random: HEAD + MODE.replace(b"recipe.toml", b"bad.toml"),
    "a device": lambda random: HEAD + MODE.replace(b"recipe.toml", b"/dev/zero"),
    "a name": lambda random: b'name = "../../x"\n' + HEAD + MODE,
    "colours": lambda random: b'backends=["\\u001b[31m"]\n' + MODE.replace(b".a", b'."\\u001b[31m"'),
    "a set": lambda random: HEAD + MODE + b'set = {"train.epochs" = 1000000000000}',
    "backends": lambda random: b'backends=["numpy","torch","mindspore","x"]\n' + MODE,
}


def all_calls() -> Iterator[Call]:
    for slot in (*slots("recipe"), *slots("study")):
        words = slot.words("bad.toml")
        for name, make in (TOML | (STUDIES if slot.content == "study" else {})).items():
            yield Call("TOML", f"{where(slot)} {name}", slot.plain, written("bad.toml", make, words))
        source = f"{slot.content}.toml"
        for number in range(4):
            for damage in DAMAGES:
                name = f"{where(slot)} {damage.__name__} {number}"
                yield Call("TOML damaged", name, slot.plain, damaged(source, "bad.toml", words, damage))
    for name, make in TOML.items():
        for plain, file in (
            ("evaluate", "run/config.toml"),
            ("predict", "run/config.toml"),
            ("resume", "stopped/config.toml"),
            ("study", "recipe.toml"),
        ):
            yield Call("TOML", f"{plain} {file} {name}", plain, written(file, make, PLAIN[plain]))
