"""What a notebook says it shows."""

from kdlab.show.said import minus, said


def test_each_sentence_is_a_line_of_a_list_and_empty_ones_are_none(monkeypatch):
    shown = []
    monkeypatch.setattr("kdlab.show.said.display", shown.append)
    said("One.", "", "Two *things*.")
    assert shown[0].data == "- One.\n- Two *things*."


def test_hyphens_of_numbers_are_minus_signs():
    assert minus("-0.5 ± 1.0") == minus(-0.5) + " ± 1.0" == "−0.5 ± 1.0"
