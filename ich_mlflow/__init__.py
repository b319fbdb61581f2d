"""Intracranial haemorrhage classification on head CT as a tracked, reproducible MLflow project.

Research software, not a medical device.

How the package is laid out, from the bottom up (a module imports only from what stands above it):

    errors, labels   the exception tree; the subtypes, their order, the class schemes
    quiet            keeps native libraries' chatter off the terminal
    options          what each entry point can be told, one frozen dataclass each
    ct/              Hounsfield units, windows, area resampling: arrays in, arrays out
    dicom/           the only importer of pydicom and highdicom: read, order and write slices, reports
    phantom/         the head CT that the project makes itself
    sources/         where slices and labels come from: rsna, ctich, cq500, phantom
    intake/          files of any kind to the series that can be scored
    dataset/         the stored set on disk, the patient split, the batches a model reads
    model/           Keras graphs: area resize, windows, EfficientNet-B0, head
    tracking/        MLflow runs and registry
    training/        hyperparameters and recipes, augmentation, the fit
    evaluation/      metrics and operating points: arrays in, numbers out
    figures/         matplotlib: arrays in, Figure out
    promotion        candidate against champion -> a decision with its reasons
    serving/         the model version that answers over REST
    prediction/      studies scored: worklist, pages, DICOM
    workflows/       one module an entry point, which composes the rest
    cli              option dataclasses -> command line
"""

__version__ = "0.2.0.dev0"
