import pytest

from tests.adding import page


@pytest.fixture
def root(tmp_path, monkeypatch):
    """A project with one module and a file beside the package."""
    root = tmp_path / "root"
    (root / "ich_mlflow").mkdir(parents=True)
    (root / "docs" / "adding").mkdir(parents=True)
    (root / "ich_mlflow" / "__init__.py").write_text("A = 1\n\nB = 2\nB = B\n")
    (root / "MLproject").write_text("name: x\n")
    monkeypatch.setattr(page, "ROOT", root)
    return root


def walked(root, text):
    (root / "docs" / "adding" / "it.md").write_text(text)
    return page.walked("it.md", root.parent / "copy")


HEAD = "```diff\n--- a/ich_mlflow/__init__.py\n+++ b/ich_mlflow/__init__.py\n@@\n"


def test_a_diff_changes_the_copy_alone_and_a_python_snippet_with_a_path_makes_a_file(root):
    made = "```python\n# ich_mlflow/more.py\nC = 3\n```\n\n```python\nraise ValueError  # for reading\n```\n"
    copy = walked(root, f"Text.\n\n{HEAD}-A = 1\n+A = 10\n\n B = 2\n```\n\n{made}")
    told = "import ich_mlflow, ich_mlflow.more; print(ich_mlflow.A, ich_mlflow.B, ich_mlflow.more.C)"
    assert page.python(copy, told) == "10 2 3\n"
    assert (root / "ich_mlflow" / "__init__.py").read_text() == "A = 1\n\nB = 2\nB = B\n"


def test_files_beside_the_package_are_copied_where_a_diff_names_them(root):
    copy = walked(root, "```diff\n--- a/MLproject\n+++ b/MLproject\n@@\n name: x\n+more: y\n```\n")
    assert (copy / "MLproject").read_text() == "name: x\nmore: y\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (f"{HEAD} A = 2\n+C = 3\n```\n", "stands 0 times in ich_mlflow/__init__.py, expected once"),
        (f"{HEAD} = 1\n+C = 3\n```\n", "stands 0 times"),
        ("```diff\n+A = 2\n```\n", "begins with"),
        ("```python\n# ich_mlflow/__init__.py\n```\n", "which is there already"),
        ("```sh\nls\n```\n", "no snippet that changes a file"),
    ],
)
def test_a_snippet_that_does_not_fit_is_refused(root, text, message):
    with pytest.raises(ValueError, match=message):
        walked(root, text)


def test_code_that_fails_says_why(tmp_path):
    with pytest.raises(AssertionError, match="ZeroDivisionError"):
        page.python(tmp_path, "1 / 0")
