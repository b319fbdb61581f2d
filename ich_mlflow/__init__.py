"""Intracranial haemorrhage classification on head CT as a tracked, reproducible MLflow project.

Research software, not a medical device.

How the package is laid out, from the bottom up (a module imports only from what stands above it):

    errors           the exception tree
    system/          whole files, locks, processes, quiet output, provenance, the Spark session
    labels           the subtypes, their order, the class schemes
    parameters       how a parameter is declared: default, help, bounds, search range
    cli              option dataclasses -> command line
    ct/              Hounsfield units, windows, area resampling: arrays in, arrays out
    dicom/           the only importer of pydicom and highdicom: read, order and write slices, reports
    phantom/         the head CT that the project makes itself
    series/          what a series is, by its headers, and which of several is best
    sources/         where slices and labels come from: rsna, ctich, cq500, phantom, table
    intake/          files of any kind to the series that can be scored
    dataset/         the stored set on disk, the patient split, the batches a model reads
    tracking/        MLflow runs and registry
    models/          kinds of networks, a folder each; losses and files of weights
    training/        the loop, checkpoints, initial weights, pretraining
    evaluation/      metrics and operating points: arrays in, numbers out
    figures/         matplotlib: arrays in, Figure out
    report/          report, model card, worklist: text out
    tuning/          the only importer of Optuna
    serving/         the model version that answers over REST
    prediction/      studies scored: worklist, pages, DICOM
    stages/          a folder an entry point, which composes the rest
"""

__version__ = "0.2.0.dev0"
