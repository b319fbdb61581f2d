from ich_mlflow.stages.common.unfinished import kept_in


def test_a_trial_whose_note_is_broken_begins_anew_and_one_with_its_note_goes_on(tmp_path):
    kept_in(tmp_path, "r").note(digest="d")
    state = tmp_path / "state.npz"
    state.write_bytes(b"of three epochs")
    assert kept_in(tmp_path, "r").notes == {"digest": "d"}
    assert state.exists()
    (tmp_path / "training.json").write_text("")
    again = kept_in(tmp_path, "r")
    assert (again.run_id, again.notes) == ("r", {})
    assert not state.exists()
