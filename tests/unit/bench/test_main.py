"""How the bench is called."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.__main__ import main


@pytest.mark.parametrize("content", [None, b"\xff", b"{", b"[]", b"{}", b'{"series": 1}', b'{"series": [{}]}'])
def test_a_file_without_samples(tmp_path: Path, capsys: pytest.CaptureFixture[str], content: bytes | None) -> None:
    path = tmp_path / "bench.json"
    if content is not None:
        path.write_bytes(content)
    assert main(["--of", str(path)]) == 2
    assert f"{path} does not hold the samples of a run" in capsys.readouterr().err


def test_a_row_that_there_is_not(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--rows", "nosuch"]) == 2
    assert "There is no row 'nosuch'. Rows: start-up, list" in capsys.readouterr().err
