"""What does a study say? Its trials summed up a setting, and in words, with intervals."""

import pandas as pd

from pipeline.base.params import TRAIN_IMAGES, Study
from pipeline.registry import seed_noise


def summarise(each: pd.DataFrame) -> pd.DataFrame:
    """A row a setting, the best first: mean validation accuracy over the seeds, its 95 % interval, its difference to
    the best (paired by seed) with interval, and in how many seeds it overfits. Intervals are Student's t.

    ``each`` has a row a trial: setting, seed, val_accuracy, best_val_loss, epochs, overfits_from, seconds, weights.
    """
    wide = each.pivot(index="setting", columns="seed", values="val_accuracy")
    best = wide.mean(axis=1).idxmax()
    rows = []
    for setting in wide.mean(axis=1).sort_values(ascending=False, kind="stable").index:
        own = each[each["setting"] == setting]
        overfitting = own["overfits_from"].dropna()
        low, high = interval(wide.loc[setting])
        below = wide.loc[best] - wide.loc[setting]
        below_low, below_high = interval(below)
        rows.append(
            {
                "setting": setting,
                "val_accuracy": wide.loc[setting].mean(),
                "low": low,
                "high": high,
                "below_best": below.mean(),
                "below_low": below_low,
                "below_high": below_high,
                "best_val_loss": own["best_val_loss"].mean(),
                "epochs": own["epochs"].mean(),
                "overfits": len(overfitting),
                "overfits_from": overfitting.median() if len(overfitting) else None,
                "seeds": len(own),
                "seconds": own["seconds"].mean(),
                "weights": own["weights"].iloc[0],
            }
        )
    return pd.DataFrame(rows)


def interval(values: pd.Series) -> tuple[float, float]:
    """Student's 95 % interval on the mean of at least two values."""
    from scipy.stats import sem, t

    half = float(t.ppf(0.975, len(values) - 1) * sem(values))
    return float(values.mean()) - half, float(values.mean()) + half


def words(name: str, study: Study, summary: pd.DataFrame, each: pd.DataFrame, val_images: int) -> str:
    """What the study says, as a paragraph of Markdown with intervals."""
    best = summary.iloc[0]
    if len(summary) == 1:
        return _words_on_noise(name, study, each, val_images)
    sentences = [
        f"The best of {len(summary)} settings is **{best['setting']}**: {best['val_accuracy']:.2%} of the validation "
        f"images ({max(best['low'], 0):.2%} to {min(best['high'], 1):.2%})."
    ]
    for _, row in summary.iloc[1:].iterrows():
        below, low, high = (100 * row[column] for column in ("below_best", "below_low", "below_high"))
        points = f"{below:.2f} points below ({low:.2f} to {high:.2f})"
        sure = "worse" if row["below_low"] > 0 else "not to be told from it with so few seeds"
        sentences.append(f"{row['setting']} is {points}: {sure}.")
    for _, row in summary[summary["overfits"] > 0].iterrows():
        sentences.append(
            f"{row['setting']} overfits in {row['overfits']} of {row['seeds']} seeds, from epoch "
            f"{row['overfits_from']:.0f} (median)."
        )
    if not summary["overfits"].any():
        sentences.append("None overfits: validation loss does not rise towards the end.")
    if all(set(block) == {TRAIN_IMAGES} for block in study.grid):
        sentences.append(_words_on_data(each))
    return (
        f"# {name}: {study.question}\n\n{' '.join(sentences)}\n\n"
        f"{len(each)} trials: {_of_what(study, each)}, {val_images:,} validation images, "
        f"{study.seeds} seeds a setting. Intervals are 95 %, Student's t over the seeds, differences paired by seed, "
        "not corrected for the number of comparisons; all trials answer the same images.\n"
    )


def _of_what(study: Study, each: pd.DataFrame) -> str:
    recipe = f"recipe `{study.recipe}`" if study.recipe else "the recipe that trains"
    images = [f"{count:,.0f}" for count in sorted(each[TRAIN_IMAGES].dropna().unique())]
    images += ["all"] if each[TRAIN_IMAGES].isna().any() else []
    return f"{recipe}, {' to '.join(dict.fromkeys((images[0], images[-1])))} train images"


def _words_on_noise(name: str, study: Study, each: pd.DataFrame, val_images: int) -> str:
    """What the seed alone does, for a study of one setting."""
    found, margin = each["val_accuracy"], seed_noise.margin(each["val_accuracy"].std(), len(each))
    return (
        f"# {name}: {study.question}\n\nThe seed alone moves validation accuracy by {found.std():.3%} (standard "
        f"deviation of {len(each)} fits, {found.min():.2%} to {found.max():.2%}, mean {found.mean():.2%}). Once in "
        f"twenty times two fits of this recipe differ by more than {margin:.3%}: less may be the seed's doing.\n\n"
        f"{len(each)} trials: {_of_what(study, each)}, {val_images:,} validation images.\n"
    )


def _words_on_data(each: pd.DataFrame) -> str:
    """Whether more images would help: what the last step on the curve brought, paired by seed, with its interval."""
    wide = each.pivot(index=TRAIN_IMAGES, columns="seed", values="val_accuracy").sort_index()
    fewer, most = wide.index[-2:]
    gain = wide.loc[most] - wide.loc[fewer]
    low, high = interval(gain)
    would = "more would probably help" if low > 0 else "that more would help cannot be told"
    return f"From {fewer:,} to {most:,} train images brought {gain.mean():.2%} ({low:.2%} to {high:.2%}): {would}."
