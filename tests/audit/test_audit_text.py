import io
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from services.audit import lexicon
from services.audit.lexicon import Lexicon, LocalizedText, Term
from services.audit.lines import judge_lines
from services.audit.matcher import Matcher
from tests.audit import corpora

COMMAND = (sys.executable, "-m", "services", "audit-text")
ROOT = Path(__file__).resolve().parents[2]
MATCHER = Matcher(Lexicon.of([Term("冰毒", "drugs", "reject", False, (), "禁毒法", LocalizedText("改写", "rewrite"))]))
GROUP = """category = "drugs"
[[group]]
action = "review"
basis = "禁毒法"
rewrite = { zh_cn = "删去", en = "Remove" }
terms = ["包子"]
"""


def judged(*lines: bytes) -> tuple[list[bytes], str, int]:
    """The answers, the complaints and the number of bad lines."""
    out, complaints = io.BytesIO(), io.StringIO()
    bad = judge_lines(iter(lines), MATCHER, out, complaints)
    return out.getvalue().splitlines(), complaints.getvalue(), bad


def asked(**given: object) -> bytes:
    return json.dumps(given).encode() + b"\n"


@pytest.fixture
def process() -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        COMMAND, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, bufsize=1
    ) as running:
        yield running
        running.kill()


def test_an_answer_has_the_id_the_decision_and_where_each_term_stands() -> None:
    answers, complaints, bad = judged(asked(id="a", text="😀有冰 毒"), asked(id=7, text="有豆浆"))
    assert [json.loads(answer) for answer in answers] == [
        {
            "id": "a",
            "decision": "reject",
            "findings": [{"category": "drugs", "start": 2, "end": 5, "term": "冰毒", "steps": ["spaces"]}],
        },
        {"id": 7, "decision": "pass", "findings": []},
    ]
    assert (complaints, bad) == ("", 0)


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        (b"nothing", "not JSON"),
        (b'{"id": "a", "text": "\xff"}', "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b"[1]", "not an object"),
        (b'{"id": "a"}', '"text" is missing'),
        (b'{"id": "a", "text": 1}', '"text" is missing, or no string'),
        (b'{"text": "a"}', '"id" is missing'),
        (b'{"id": null, "text": "a"}', '"id" is missing, or neither'),
    ],
)
def test_a_bad_line_is_told_by_its_number_and_stops_no_other(line: bytes, complaint: str) -> None:
    answers, complaints, bad = judged(asked(id=1, text="a"), b"\n", line + b"\n", asked(id=4, text="b"))
    assert [json.loads(answer)["id"] for answer in answers] == [1, 4]
    assert complaints.startswith(f"line 3: {complaint}")
    assert complaints.count("\n") == bad == 1


def test_a_byte_order_mark_and_half_a_surrogate_pair_are_no_reason_to_stop() -> None:
    answers, _, bad = judged(b"\xef\xbb\xbf" + asked(id="a", text="\ud800冰毒"), asked(id="\udc00", text="\ud83d"))
    assert [json.loads(answer)["decision"] for answer in answers] == ["reject", "pass"]
    assert json.loads(answers[1])["id"] == "\udc00"
    assert bad == 0


def test_each_line_is_answered_before_the_next_is_asked(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    assert process.stdout is not None
    for line in corpora.read("dev")[::40]:
        process.stdin.write(json.dumps({"id": line.id, "text": line.text}) + "\n")
        assert json.loads(process.stdout.readline())["id"] == line.id
    process.stdin.close()
    assert process.wait() == 0


def test_whoever_has_read_enough_may_go_away(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdin.write('{"id": 1, "text": "a"}\n')
    process.stdout.readline()
    process.stdout.close()
    process.stdin.write('{"id": 2, "text": "b"}\n')
    process.stdin.close()
    assert process.wait() == 1
    assert process.stderr.read() == ""


def test_the_command_answers_as_the_service_judges_and_leaves_nothing_behind(tmp_path: Path) -> None:
    given = "".join(json.dumps({"id": line.id, "text": line.text}) + "\n" for line in corpora.read("dev"))
    environment = {"PYTHONPATH": str(ROOT), "PATH": ""}
    done = subprocess.run(
        COMMAND, cwd=tmp_path, env=environment, input=given, capture_output=True, text=True, check=True
    )
    answers = [json.loads(answer) for answer in done.stdout.splitlines()]
    expected = corpora.outcomes(corpora.read("dev"), Matcher(lexicon.load()))
    assert [(one["id"], one["decision"]) for one in answers] == [(one.line.id, one.decision) for one in expected]
    spans = [[(finding["start"], finding["end"]) for finding in one["findings"]] for one in answers]
    assert spans == [[(finding.start, finding.end) for finding in one.findings] for one in expected]
    assert [*tmp_path.iterdir()] == []


def test_another_lexicon_can_be_tried_and_a_broken_one_is_refused_by_name(tmp_path: Path) -> None:
    def run(content: str) -> subprocess.CompletedProcess[str]:
        (tmp_path / "drugs.toml").write_text(content, encoding="utf-8")
        command = (*COMMAND, "--lexicon", str(tmp_path))
        given = '{"id": 1, "text": "肉包子"}\nnone\n'
        return subprocess.run(command, cwd=ROOT, input=given, capture_output=True, text=True, check=False)

    done = run(GROUP)
    assert json.loads(done.stdout)["decision"] == "review"
    assert (done.returncode, done.stderr[:7]) == (1, "line 2:")
    done = run(GROUP + 'patterns = { "x" = "a+" }\n')
    assert done.returncode == 2
    assert done.stderr.startswith("sharemesh: --lexicon: x: ")
