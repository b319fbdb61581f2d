"""Gates about probabilities: whether they mean what they say, and whether they say less than the champion's.

The mean calibration error sees neither: where positives are rare, halving every probability hardly moves it.
Each gives whether it is passed, and what was found in words.
"""

from ich_mlflow.stages.promote.facts import CalibrationLine, Facts, Figure, Limits

#: Log odds may be twice as far from 0 as they should, or a third: too sure misleads, too unsure does less harm, and is
#: what a calibration from few patients gives.
_SLOPE_FROM, _SLOPE_TO = 0.5, 3.0


def calibration(facts: Facts, limits: Limits) -> tuple[bool, str]:
    """No interval of an intercept or a slope lies wholly outside what is tolerated."""
    margin = limits.intercept_margin
    wanted = f"intercept -{margin:g} to {margin:g}, slope {_SLOPE_FROM:g} to {_SLOPE_TO:g}"
    wrong = [said for line in facts.calibration for said in _outside(line, margin)]
    unknown = _unknown(facts.calibration)
    if wrong:
        return False, f"{', '.join(wrong)}; expected {wanted}, or an interval that reaches into it{unknown}"
    told = sum(line.intercept.is_told or line.slope.is_told for line in facts.calibration)
    if not told:
        return False, f"neither intercept nor slope of any finding can be told{unknown}"
    furthest = max(
        (line for line in facts.calibration if line.intercept.is_told),
        key=lambda line: abs(line.intercept.value),
        default=None,
    )
    said = (
        f"the furthest is {furthest.of}, intercept {_told(furthest.intercept)}"
        if furthest
        else "slopes alone"
    )
    return True, f"{said}; all {told} reach into {wanted}{unknown}"


def brier_skill(facts: Facts, limits: Limits) -> tuple[bool, str]:
    """The Brier skill of any and of the mean, of slices and exams, is not lower by more than the margin."""
    if facts.versus is None:
        return True, facts.why_not_compared
    margin, skill = limits.calibration_margin, facts.versus.skill
    figures = {
        name: f"{name} {one.candidate:.4f} against {one.other:.4f} ({one.difference:+.4f})"
        for name, one in skill.items()
    }
    lower = [figures[name] for name, one in skill.items() if not one.difference >= -margin]
    if lower:
        return False, f"lower by more than {margin:g}: {', '.join(lower)}"
    if not figures:
        return False, "the Brier skill is not estimable"
    return True, f"{', '.join(figures.values())}; at most -{margin:g}"


def _outside(line: CalibrationLine, margin: float) -> list[str]:
    """What of the line lies outside with its whole interval, in words."""
    found = []
    if _is_outside(line.intercept, -margin, margin):
        low = "too low" if line.intercept.value > 0 else "too high"
        found.append(f"{line.of} intercept {_told(line.intercept)}, probabilities are {low}")
    if _is_outside(line.slope, _SLOPE_FROM, _SLOPE_TO):
        extreme = "too extreme" if line.slope.value < 1 else "not extreme enough"
        found.append(f"{line.of} slope {_told(line.slope)}, probabilities are {extreme}")
    return found


def _is_outside(figure: Figure, lowest: float, highest: float) -> bool:
    return figure.is_told and (figure.low > highest or figure.high < lowest)


def _told(figure: Figure) -> str:
    interval = f" ({figure.low:+.2f} to {figure.high:+.2f})" if figure.is_told else ""
    return f"{figure.value:+.2f}{interval}"


def _unknown(lines: tuple[CalibrationLine, ...]) -> str:
    names = [line.of for line in lines if not (line.intercept.is_told and line.slope.is_told)]
    return f"; no interval: {', '.join(names)}" if names else ""
