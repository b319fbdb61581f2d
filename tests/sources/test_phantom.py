import pickle

from ich_mlflow.sources.phantom import PhantomSource
from ich_mlflow.sources.registry import open_source
from tests.factories import write_rsna


def test_the_phantom_source_reads_rsnas_layout(tmp_path):
    write_rsna(tmp_path)
    source = open_source("phantom", tmp_path)
    assert isinstance(source, PhantomSource)
    assert source.name == "phantom"
    assert pickle.loads(pickle.dumps(source)) == source  # workers get a phantom source too
    files = source.files()
    assert len(files) == 12
    assert source.read(files[0]).sop_uid == files[0].sop_uid
