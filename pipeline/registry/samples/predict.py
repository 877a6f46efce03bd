"""Says what is on pictures.

    pip install onnxruntime numpy pillow
    python predict.py picture.png …

It frames a picture in a plain way: good for one that is clean and shows one thing. The service and the command line of
the project where this model was made take more trouble with paper, shadows and specks.
"""

import json
import sys
from pathlib import Path

import numpy as np
import onnxruntime
from PIL import Image, ImageOps

HERE = Path(__file__).resolve().parent
FORM = json.loads((HERE / "form.json").read_text(encoding="utf-8"))
BELIEVED = 0.5  # a certainty below this: it is none of the classes, or not clear which


def framed(picture: Image.Image) -> np.ndarray:
    """The picture as the model takes it: uint8 (height, width), or (height, width, 3) in colour."""
    picture = ImageOps.exif_transpose(picture)
    if picture.has_transparency_data:
        picture = Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture.convert("RGBA"))
    return inked(picture) if FORM["kind"] == "digits" else whole(picture)


def inked(picture: Image.Image) -> np.ndarray:
    """As MNIST has it: ink 255 on paper 0, its longer side five sevenths of the image, centred by mass."""
    height, width = FORM["shape"]
    grey = np.asarray(picture.convert("L"), np.float32)
    paper = np.median(np.concatenate([grey[0], grey[-1], grey[:, 0], grey[:, -1]]))
    ink = np.abs(grey - paper)
    ink *= 255 / max(ink.max(), 1)
    rows, columns = np.nonzero(ink > 64)
    if not len(rows):
        return np.zeros((height, width), np.uint8)
    box = (int(columns.min()), int(rows.min()), int(columns.max()) + 1, int(rows.max()) + 1)
    cut = Image.fromarray(np.where(ink > 32, ink, 0).astype(np.uint8)).crop(box)
    scale = min(height, width) * 5 / 7 / max(cut.size)
    small = cut.resize([max(round(side * scale), 1) for side in cut.size], Image.Resampling.BOX if scale < 1 else None)
    values = np.asarray(small, np.float32)
    mass = max(values.sum(), 1)
    top = round((height - 1) / 2 - (values.sum(axis=1) * np.arange(values.shape[0])).sum() / mass)
    left = round((width - 1) / 2 - (values.sum(axis=0) * np.arange(values.shape[1])).sum() / mass)
    image = Image.new("L", (width, height))
    image.paste(small, (left, top))
    return np.asarray(image)


def whole(picture: Image.Image) -> np.ndarray:
    """All of the picture, scaled to fit; what is left over has its mean colour."""
    height, width = FORM["shape"][:2]
    picture = picture.convert("RGB" if len(FORM["shape"]) == 3 else "L")
    scale = min(height / picture.height, width / picture.width)
    size = [max(round(picture.width * scale), 1), max(round(picture.height * scale), 1)]
    small = picture.resize(size, Image.Resampling.BOX if scale < 1 else Image.Resampling.BICUBIC)
    mean = np.rint(np.asarray(small, np.float32).mean(axis=(0, 1))).astype(int)
    image = Image.new(picture.mode, (width, height), tuple(mean.tolist()) if mean.ndim else int(mean))
    image.paste(small, ((width - size[0]) // 2, (height - size[1]) // 2))
    return np.asarray(image)


def answers(session: onnxruntime.InferenceSession, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Images uint8 (N, *shape) to probabilities float32 (N, classes) and certainties float32 (N,)."""
    names = [output.name for output in session.get_outputs()]
    found = dict(zip(names, session.run(names, {"images": images}), strict=True))
    return found["probabilities"], found.get("certainty", np.ones(len(images), np.float32))


def main() -> None:
    if len(sys.argv) < 2:
        sys.exit("usage: python predict.py PICTURE …")
    session = onnxruntime.InferenceSession(str(HERE / "model.onnx"), providers=["CPUExecutionProvider"])
    for path in sys.argv[1:]:
        try:
            with Image.open(path) as picture:
                image = framed(picture)
        except OSError as error:  # Pillow's own are such, too
            sys.exit(f"{path}: is no picture that can be read: {error}")
        ((probabilities,), (certainty,)) = answers(session, image[None])
        best = int(probabilities.argmax())
        said = f"{FORM['classes'][best]} ({probabilities[best]:.1%})" if certainty >= BELIEVED else "not sure"
        print(f"{path}: {said}")


if __name__ == "__main__":
    main()
