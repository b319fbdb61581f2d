"""What the words in a series' names say of it, in the languages of scanners' protocols. Pure: texts in."""

import re
import unicodedata

from ich_mlflow.dicom.contrast import Contrast

#: What says that there was none is taken out before the words of contrast are looked for: `C-` and `-C` while the minus
#: is there, then the words. Sources: the folder names of CQ500, and what scanners write in seven languages.
_MINUS = re.compile(r"(?<!\w)c ?-(?!\w)|(?<![\w+])- ?c(?!\w)")
_WITHOUT_CONTRAST = re.compile(
    r"(?<!\w)(?:pre|non?|without|w ?/? ?o(?:ut)?|sans|sin|senza|sem|ohne|kein|o\.|zonder|bez|utan|uden|s)[ ./]*"
    r"(?:(?:iv|i\.v\.) ?)?(?:contrast\w*|kontrast\w*|ctte|civ|cont?\b|cm\b|c\b|enhanc\w*|km\b|mdc\b|mezzo\b|medio\b|"
    r"inj\w*|inyec\w*|inf\w*|iv\b|produit\b)|"
    r"contrast\w* ?[:=]? ?(?:no|none|nil|without)\b|\bo km\b|\bun ?enhanced|\bplain\b|\bnativ\w*|\bbasale?\b|"
    r"\bbland?co\b|\bn(?:on)?[- ]?cc?e?ct\b|\bnc\b|平扫|平掃|単純|비조영"
)
_WITH_CONTRAST = re.compile(
    r"contrast|kontrast|enhanc|\bcect\b|\bc ?\+|\+ ?c\b|\bc/c\b|\bc ?/ ?ctte\b|\bcon ctte\b|\bw ?/? ?(?:con|c)\b|"
    r"(?<!\w)km(?!\w)|\bmdc\b|inject|inyec|angio|\bct ?[av]\b|\bcow\b|willis|carot|veno|arterial|perfus|bolus|d3d|"
    r"\b\d+ ?cc\b|增强|增強|造影|조영"
)
#: Words that stand for contrast or for something else.
_PERHAPS_CONTRAST = re.compile(
    r"(?<!\w)c(?!\w)|\blate\b|\bdelay|\bspate?\b|\btardi|\biv\b|"
    r"\bpost\b(?! ?(op|fossa|surg|trauma|thromb|ictal|fall|cranio|evac|coil|clip|stent|lysis|tpa|treat|drain|shunt))"
)
_BONE = re.compile(r"\bbone|\bedge\b|\bknochen|\bhueso|\bosso?\b|\bosseu|\bos\b")
#: Sharp kernels: Siemens' H60s, B70f, J70h, Hr60f; Canon's FC30 to FC39 and FC80 to FC89; Philips' YA to YE.
_SHARP_KERNEL = re.compile(r"\b(?:[hbju][a-z]?[6-9]\d[a-z]?|fc[38]\d|y[a-e])\b")
_HEAD = re.compile(
    r"head|brain|skull|crani|cereb|neuro|kopf|schadel|schaedel|hirn|tete|cabe[zc]a|crane|encefal|enceph|testa|hoofd|"
    r"hersen|头|頭|颅|脳|두부"
)
_OTHER_PART = re.compile(
    r"\b(chest|thora\w*|torax|brust|lungs?|abd\w*|pelv\w*|becken|spine|c-?spine|lumbar|cervical|neck|hals|cuello|cardiac|"
    r"heart|knee|hip|shoulder|ankle|wrist|elbow|foot|hand|leg|arm|extremit\w*|kub|cap|tap|hws|lws|bws)\b"
)
#: Projections and volume renderings hold no Hounsfield units of a plane; maps of dual energy none of one energy.
_PROJECTION = re.compile(
    r"(?<![a-z])(?:mip|minip|max ip|min ip|projection image|perfusion|cbf|cbv|mtt|tmax|rgb|vrt|volume rend\w*)(?![a-z])"
)
#: Short words that mean something else in a description.
_PROJECTION_TYPE = re.compile(r"(?<![a-z])3d(?![a-z])")
_MAP_TYPE = re.compile(r"(?<![a-z])sub(?![a-z])")
_MAP = re.compile(
    r"(?<![a-z])(?:iod(?:in\w*|o|e|map)?|vnc|vni|vne|vue|virt\w*|mono ?e?\d*|mono ?e(?:nerg\w*)?|monochrom\w*|kev|"
    r"rho|z[- ]?eff\w*|eff(?:ective)? atomic\w*|electron dens\w*|material|decomp\w*|subtract\w*|dsa|"
    r"bone ?remov\w*|boneless|fused|fusion|overlay|hap|water)(?![a-z])|\d ?kev\b"
)


def plain(text: str) -> str:
    """In lower case, without accents, underscores and repeated spaces: `Schädel_o. KM` is `schadel o. km`."""
    decomposed = unicodedata.normalize("NFKD", text.lower().replace("_", " "))
    kept = "".join(one for one in decomposed if not unicodedata.combining(one))
    return re.sub(r"\s+", " ", unicodedata.normalize("NFC", kept)).strip()


def contrast_of(text: str) -> Contrast:
    """How surely a series of that name was made with contrast, as far as the name says."""
    said = _WITHOUT_CONTRAST.sub(" ", _MINUS.sub(" ", plain(text)).replace("-", " "))
    if _WITH_CONTRAST.search(said):
        return Contrast.CERTAIN
    return Contrast.DOUBTFUL if _PERHAPS_CONTRAST.search(said) else Contrast.NONE


def is_bone(text: str) -> bool:
    """Whether a description or kernel is of bone."""
    said = plain(text).replace("-", " ")
    return bool(_BONE.search(said) or _SHARP_KERNEL.search(said))


def says_head(text: str) -> bool:
    """Whether the head is named."""
    return bool(_HEAD.search(plain(text)))


def says_other_part(text: str) -> bool:
    """Whether another part of the body is named."""
    return bool(_OTHER_PART.search(plain(text)))


def derived_from(image_type: str, description: str) -> str:
    """Which kind of derived image: `a projection` or `a map of dual energy or a subtraction`, by which tag; '' of none.

    image_type: ImageType's values with backslashes between.
    """
    values = plain(image_type.replace("\\", " \\ "))
    name = plain(description)
    for kind, pattern, of_type in (
        ("a projection", _PROJECTION, _PROJECTION_TYPE),
        ("a map of dual energy or a subtraction", _MAP, _MAP_TYPE),
    ):
        if pattern.search(values) or of_type.search(values):
            return f"{kind}, by ImageType"
        if pattern.search(name):
            return f"{kind}, by its description"
    return ""
