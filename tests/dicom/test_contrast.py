import pytest
from pydicom.dataset import Dataset

from ich_mlflow.dicom.contrast import Contrast, ContrastTags, contrast_tags


def tags(**values):
    dataset = Dataset()
    for keyword, value in values.items():
        setattr(dataset, keyword, value)
    return contrast_tags(dataset)


@pytest.mark.parametrize(
    "agent",
    [
        "", "NONE", "no", "N/A", "WITHOUT", "NON CONTRAST", "UNKNOWN", "W/O", "NO IV CONTRAST", "Kein KM", "ohne KM",
        "SIN CONTRASTE", "--", "0", "NONE 0 ml", "-" * 60 + "n/a",
    ],
)  # fmt: skip
def test_placeholders_name_no_agent(agent):
    assert tags(ContrastBolusAgent=agent) == ContrastTags()


@pytest.mark.parametrize(
    "agent", ["Iohexol 300", "OMNIPAQUE 350 75ML", "IV CONTRAST", "APPLIED", "YES", "100 ml"]
)
def test_agents_are_certain(agent):
    assert tags(ContrastBolusAgent=agent).contrast == Contrast.CERTAIN


@pytest.mark.parametrize("agent", ["XYZZY", "Omnipaque not used", "protocol 7"])
def test_words_of_unknown_meaning_are_doubtful(agent):
    assert tags(ContrastBolusAgent=agent).contrast == Contrast.DOUBTFUL


@pytest.mark.parametrize(
    ("keyword", "value"),
    [
        ("ContrastBolusVolume", "70"), ("ContrastBolusTotalDose", "300"), ("ContrastFlowRate", "4"),
        ("ContrastFlowDuration", "20"), ("ContrastBolusIngredientConcentration", "350"),
        ("ContrastBolusStartTime", "101500"), ("ContrastBolusStopTime", "101520"),
        ("ContrastBolusIngredient", "IODINE"), ("ContrastBolusAgentSequence", [Dataset()]),
    ],
)  # fmt: skip
def test_every_other_tag_of_the_module_names_contrast(keyword, value):
    assert tags(**{keyword: value}) == ContrastTags(contrast=Contrast.CERTAIN, keyword=keyword)


def test_tags_that_are_there_and_say_nothing_are_none():
    assert tags(
        ContrastBolusVolume="0", ContrastBolusStartTime="000000", ContrastBolusAgentSequence=[],
        ContrastBolusRoute="", ContrastBolusIngredient="",
    ) == ContrastTags()  # fmt: skip
    assert tags(ContrastBolusRoute="ORAL") == ContrastTags()


def test_a_route_alone_is_doubtful_and_the_surest_tag_is_named():
    assert tags(ContrastBolusRoute="IV") == ContrastTags(
        contrast=Contrast.DOUBTFUL, keyword="ContrastBolusRoute"
    )
    assert tags(ContrastBolusRoute="IV", ContrastBolusVolume="70").keyword == "ContrastBolusVolume"
