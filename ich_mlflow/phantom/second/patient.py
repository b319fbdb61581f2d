"""What differs from patient to patient in the second edition, harmless findings among it."""

from dataclasses import dataclass

import numpy as np

#: Share of the patients that are young, with a brain that fills the skull.
YOUNG = 0.45
#: Share of the patients with each harmless finding; of calcium and sinuses it depends on age, too.
FRACTURE, SCALP_HAEMATOMA, INFARCT, CRANIOTOMY = 0.12, 0.25, 0.10, 0.05


@dataclass(frozen=True, kw_only=True)
class Patient:
    """A patient of the second edition. Lengths in mm, attenuation in HU.

    fullness       how much of the CSF next to the skull is brain instead: 0 to 0.95 (young)
    atrophy        shrinks the brain: -0.2 (young, narrow sulci) to 0.3 (old)
    ventricle_mm   the ventricles' walls move outward by this; below -1 they are slits
    skull_mm, scalp_mm, unevenness_mm   thickness, and how far the inner table is off a smooth one
    diploe         how spongy the skull's middle is, 0 to 1
    grey, white    attenuation
    cupping        brightness of brain next to bone that the scanner leaves
    sinus, tentorium   attenuation of flowing blood in the sinuses and of the tentorium and falx
    calcified_pineal, calcified_falx, calcified_ganglia, calcified_vessels   where calcium lies
    fracture, scalp_haematoma, infarct, craniotomy   what else may be seen, none of it a bleed
    findings_seed  of where those are
    """

    fullness: float
    atrophy: float
    ventricle_mm: float
    skull_mm: float
    scalp_mm: float
    unevenness_mm: float
    diploe: float
    grey: float
    white: float
    cupping: float
    sinus: float
    tentorium: float
    calcified_pineal: bool
    calcified_falx: bool
    calcified_ganglia: bool
    calcified_vessels: bool
    fracture: bool
    scalp_haematoma: bool
    infarct: bool
    craniotomy: bool
    findings_seed: int

    @classmethod
    def draw(cls, rng: np.random.Generator) -> "Patient":
        young = bool(rng.random() < YOUNG)
        age = rng.uniform(0, 0.35) if young else rng.uniform(0.35, 1)

        def chance(share: float) -> bool:
            return bool(rng.random() < share)

        return cls(
            fullness=rng.uniform(0.55, 0.95) if young else max(0.0, rng.uniform(-0.3, 0.6)),
            atrophy=rng.uniform(-0.2, 0.0) if young else 0.02 + 0.26 * age * rng.random(),
            ventricle_mm=rng.uniform(-2.6, -0.6) if young else -1.0 + 3.6 * age * rng.random(),
            skull_mm=rng.uniform(5.0, 9.5),
            scalp_mm=rng.uniform(3.5, 8.0),
            unevenness_mm=rng.uniform(0.3, 1.1),
            diploe=rng.uniform(0.2, 1.0),
            grey=rng.uniform(33.0, 40.0),
            white=rng.uniform(26.0, 30.5),
            cupping=rng.uniform(1.5, 8.0),
            sinus=rng.uniform(44.0, 66.0),
            tentorium=rng.uniform(42.0, 60.0),
            calcified_pineal=chance(0.2 + 0.6 * age),
            calcified_falx=chance(0.05 + 0.25 * age),
            calcified_ganglia=chance(0.02 + 0.15 * age),
            calcified_vessels=chance(0.5 * age),
            fracture=chance(FRACTURE),
            scalp_haematoma=chance(SCALP_HAEMATOMA),
            infarct=chance(INFARCT * 2 * age),
            craniotomy=chance(CRANIOTOMY),
            findings_seed=int(rng.integers(2**31)),
        )
