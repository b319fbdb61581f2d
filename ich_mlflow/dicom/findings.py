"""What a model found in a study, as a DICOM Structured Report that PACS and viewers can read."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from math import inf
from pathlib import Path
from types import MappingProxyType

import highdicom as hd
import pydicom
from highdicom.sr import CodedConcept
from pydicom.dataset import Dataset
from pydicom.uid import generate_uid

from ich_mlflow.dicom import derived
from ich_mlflow.dicom.derived import Source
from ich_mlflow.labels import ANY, SUBTYPES
from ich_mlflow.system.whole import write_whole

SERIES_NUMBER = 9001
SERIES_DESCRIPTION = "ich_mlflow findings, research only"
EXPLANATION = (
    f"{derived.NOTICE} Not verified by a person. Certainty of Finding is the probability that the model gives the "
    "finding; Presence says whether it reaches the threshold of the operating point, named in Algorithm Parameters."
)
#: Follows where a finding has a volume.
OF_VOLUMES = (
    "Volume is an estimate by the same model, from its map of where blood is: not from an outline by a person, and "
    "not to decide by."
)

#: SNOMED CT where two sources or more agreed on the concept; the project's own code where they didn't. Of epidural and
#: intraventricular haemorrhage one public list each has a code (82999001, 274110009), another list has others, and
#: DICOM's context groups (pydicom.sr.codedict) have none.
FINDINGS: Mapping[str, CodedConcept] = MappingProxyType(
    {
        "epidural": CodedConcept("epidural", "99ICH", "Epidural hemorrhage"),
        "intraparenchymal": CodedConcept("274100004", "SCT", "Cerebral hemorrhage"),
        "intraventricular": CodedConcept("intraventricular", "99ICH", "Intraventricular hemorrhage"),
        "subarachnoid": CodedConcept("21454007", "SCT", "Subarachnoid intracranial hemorrhage"),
        "subdural": CodedConcept("35486000", "SCT", "Subdural intracranial hemorrhage"),
        ANY: CodedConcept("1386000", "SCT", "Intracranial hemorrhage"),
    }
)
PRESENCE = CodedConcept("705057003", "SCT", "Presence")
PRESENT = CodedConcept("52101004", "SCT", "Present")
ABSENT = CodedConcept("272519000", "SCT", "Absent")
CERTAINTY = CodedConcept("111012", "DCM", "Certainty of Finding")
#: Source: DICOM PS3.16 CID 7472 and 7462, which has no millilitre.
VOLUME = CodedConcept("118565006", "SCT", "Volume")
_MILLILITRE = CodedConcept("cm3", "UCUM", "cubic centimeter")
_PERCENT = CodedConcept("%", "UCUM", "Percent")
_COMMENT = CodedConcept("121106", "DCM", "Comment")
_CT_OF_HEAD = CodedConcept("303653007", "SCT", "Computed tomography of head")


@dataclass(frozen=True, kw_only=True)
class LabelFinding:
    """What is said of one label in a study. Raises ValueError where a value is out of range.

    label: one of SUBTYPES or ANY. probability, threshold: 0 to 1. blood_ml: millilitres of it, None where they are
    not measured.
    """

    label: str
    probability: float
    is_positive: bool
    threshold: float
    blood_ml: float | None = None

    def __post_init__(self) -> None:
        if self.label not in (*SUBTYPES, ANY):
            raise ValueError(f"label is {self.label!r}, expected one of {(*SUBTYPES, ANY)}")
        if not (0 <= self.probability <= 1 and 0 <= self.threshold <= 1):
            raise ValueError(f"{self.label}: probability and threshold must lie between 0 and 1")
        if self.blood_ml is not None and not 0 <= self.blood_ml < inf:
            raise ValueError(f"{self.label}: blood_ml is {self.blood_ml}, expected 0 or more")


@dataclass(frozen=True, kw_only=True)
class Algorithm:
    """Which model said it, by which operating points (a rule, as max_f1), in which release.

    caveats: what to know beside every number and decision of that model; they stand in the report's comment.
    """

    model_name: str
    model_version: str
    operating_point: str
    project_version: str
    caveats: tuple[str, ...] = ()


def write_findings(
    path: Path,
    sources: Sequence[Path],
    findings: Sequence[LabelFinding],
    algorithm: Algorithm,
    *,
    key_slices: Mapping[str, Sequence[Path]] = MappingProxyType({}),
    uid_seed: str,
    planned: Sequence[tuple[str, str]] = (),
) -> None:
    """Write a study's findings to `path` as an Enhanced SR, a Measurement Report with a group a label.

    sources: the files of the series that was scored; all are listed as evidence. key_slices: of a label, those of
    `sources` where it was found; they become the source images of its group. uid_seed: the same seed, study and
    series give the same UIDs, so that a second report takes the place of the first. Patient and study are kept as
    the first source has them, valid or not. planned: as of derived.read_sources.
    Raises SliceError and DataError as derived.read_sources, ValueError
    where there are no findings or a key slice is not among the sources.
    Source: DICOM PS3.16 TID 1500, 1501, 4019; PS3.3 A.35.2.
    """
    read = derived.read_sources(sources, planned)
    by_path = dict(zip(sources, read, strict=True))
    if not findings or any(one not in by_path for slices in key_slices.values() for one in slices):
        raise ValueError("expected at least one finding, and key slices that are among the sources")
    # Identifiers are kept as they are, and RSNA's are no valid UIDs.
    with pydicom.config.disable_value_validation():
        groups = [
            _group(one, algorithm, [by_path[key] for key in key_slices.get(one.label, ())], read[0], uid_seed)
            for one in findings
        ]
        explanation = [
            EXPLANATION,
            *([OF_VOLUMES] if any(one.blood_ml is not None for one in findings) else []),
        ]
        report = _report(read, _content(groups, algorithm, explanation), algorithm, uid_seed)
        derived.keep_identity(report, read[0])
        write_whole(path, partial(report.save_as, enforce_file_format=True))


def _report(sources: Sequence[Source], content: Dataset, algorithm: Algorithm, uid_seed: str) -> Dataset:
    """The document around the content tree; whose it is stays open."""
    report = hd.sr.EnhancedSR(
        evidence=[_evidence(source) for source in sources],
        content=content,
        series_instance_uid=derived.derived_uid(uid_seed, sources[0], "findings", "series"),
        series_number=SERIES_NUMBER,
        series_description=SERIES_DESCRIPTION,
        sop_instance_uid=derived.derived_uid(uid_seed, sources[0], "findings", "instance"),
        instance_number=1,
        manufacturer=derived.MANUFACTURER,
        manufacturer_model_name=derived.plain_text(algorithm.model_name),
        software_versions=(
            derived.plain_text(algorithm.project_version),
            derived.plain_text(algorithm.model_version),
        ),
        is_complete=True,
        is_final=False,
        is_verified=False,
    )
    report.ContentQualification = "RESEARCH"
    report.CodingSchemeIdentificationSequence = [_project_scheme()]
    return report


def _content(
    groups: Sequence[hd.sr.MeasurementsAndQualitativeEvaluations],
    algorithm: Algorithm,
    explanation: Sequence[str],
) -> Dataset:
    """The root of the content tree (TID 1500), with the explanation as a comment in it."""
    device = hd.sr.DeviceObserverIdentifyingAttributes(
        uid=str(generate_uid(entropy_srcs=["\n".join((algorithm.model_name, algorithm.model_version))])),
        name=f"{derived.MANUFACTURER}: {derived.NOTICE}",
        manufacturer_name=derived.MANUFACTURER,
        model_name=derived.plain_text(algorithm.model_name),
    )
    observer = hd.sr.ObserverContext(
        observer_type=CodedConcept("121007", "DCM", "Device"), observer_identifying_attributes=device
    )
    root = hd.sr.MeasurementReport(
        observation_context=hd.sr.ObservationContext(observer_device_context=observer),
        procedure_reported=_CT_OF_HEAD,
        imaging_measurements=groups,
    )[0]
    root.ContentSequence.append(
        hd.sr.TextContentItem(
            name=_COMMENT,
            value=derived.plain_text(
                " ".join((*explanation, *(f"{one}." for one in algorithm.caveats))), 4096
            ),
            relationship_type=hd.sr.RelationshipTypeValues.CONTAINS,
        )
    )
    return root


def _group(
    finding: LabelFinding, algorithm: Algorithm, key_slices: Sequence[Source], first: Source, uid_seed: str
) -> hd.sr.MeasurementsAndQualitativeEvaluations:
    """One label's measurement group (TID 1501)."""
    present = f"present from probability {finding.threshold:.6g}"
    parameters = f"operating point {algorithm.operating_point}, {present}"
    return hd.sr.MeasurementsAndQualitativeEvaluations(
        tracking_identifier=hd.sr.TrackingIdentifier(
            uid=derived.derived_uid(uid_seed, first, "findings", "tracking", finding.label),
            identifier=f"{derived.MANUFACTURER} {finding.label}",
        ),
        finding_type=FINDINGS[finding.label],
        algorithm_id=hd.sr.AlgorithmIdentification(
            name=derived.plain_text(algorithm.model_name),
            version=derived.plain_text(algorithm.model_version),
            parameters=[derived.plain_text(parameters, 1024)],
            manufacturer=derived.MANUFACTURER,
        ),
        measurements=_measurements(finding),
        qualitative_evaluations=[
            hd.sr.QualitativeEvaluation(name=PRESENCE, value=PRESENT if finding.is_positive else ABSENT)
        ],
        source_images=[
            hd.sr.SourceImageForMeasurementGroup(source.sop_class_uid, source.sop_uid)
            for source in key_slices
        ],
    )


def _measurements(finding: LabelFinding) -> list[hd.sr.Measurement]:
    """Its probability, and its volume where that is measured."""
    found = [
        hd.sr.Measurement(name=CERTAINTY, value=round(100 * float(finding.probability), 4), unit=_PERCENT)
    ]
    if finding.blood_ml is not None:
        found.append(
            hd.sr.Measurement(name=VOLUME, value=round(float(finding.blood_ml), 1), unit=_MILLILITRE)
        )
    return found


def _evidence(source: Source) -> Dataset:
    """As much of a slice's header as highdicom needs; patient and study are put into the report afterwards."""
    dataset = Dataset()
    dataset.SOPClassUID, dataset.SOPInstanceUID = source.sop_class_uid, source.sop_uid
    dataset.SeriesInstanceUID, dataset.StudyInstanceUID = source.series_uid, source.study_uid
    for keyword in (
        "PatientID", "PatientName", "PatientBirthDate", "PatientSex", "AccessionNumber", "StudyID", "StudyDate",
        "StudyTime",
    ):  # fmt: skip
        setattr(dataset, keyword, None)
    return dataset


def _project_scheme() -> Dataset:
    """Whose the codes of the scheme 99ICH are."""
    item = Dataset()
    item.CodingSchemeDesignator = "99ICH"
    item.CodingSchemeName = "Codes of ich_mlflow"
    item.CodingSchemeResponsibleOrganization = derived.MANUFACTURER
    return item
