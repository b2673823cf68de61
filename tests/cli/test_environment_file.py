"""Files of variables are read as systemd reads them."""

import pytest

from gateway.cli.environment_file import SIZE_LIMIT, EnvironmentFileError, parse_environment, read_environment

CASES = {
    "plain": ("A=1\nB=two words\n", {"A": "1", "B": "two words"}),
    "comments and blank lines": ("# a comment\n\n; another\n  A=1\n", {"A": "1"}),
    "the last of two counts": ("A=1\nA=2\n", {"A": "2"}),
    "quotes": ("A='x y'\nB=\"x 'y'\"\nC='{\"shop\":\"key\"}'\n", {"A": "x y", "B": "x 'y'", "C": '{"shop":"key"}'}),
    "quotes inside a value": (
        'A={"shop":"key"}\nB=don\'t\nC=a "b"\n',
        {"A": '{"shop":"key"}', "B": "don't", "C": 'a "b"'},
    ),
    "several quoted parts": ("A='x' \"y\"z'\n", {"A": "xyz'"}),
    "a character behind quotes": ("A='x'y z\n", {"A": "xy z"}),
    "escaped white space at the end": ("A=x\\  \nB=1\r\n", {"A": "x ", "B": "1"}),
    "a quoted line feed": ('A="one\ntwo"\nB=3\n', {"A": "one\ntwo", "B": "3"}),
    "a continued line": ("A=one\\\ntwo\nB=3\n", {"A": "onetwo", "B": "3"}),
    "escapes": ('A=a\\ b\nB="a\\"b\\\\c"\nC="a\\nb"\n', {"A": "a b", "B": 'a"b\\c', "C": "a\\nb"}),
    "blanks around": ("A =  1  \n", {"A": "1"}),
    "empty": ("A=\nB=''\n", {"A": "", "B": ""}),
    "an equals sign in the value": ("A=b=c\n", {"A": "b=c"}),
    "no line feed at the end": ("A=1", {"A": "1"}),
    "an apostrophe in a comment": ("# don't\nA=1\n", {"A": "1"}),
}


@pytest.mark.parametrize("name", CASES)
def test_a_file_is_read_as_systemd_does(name):
    """Quotes, escapes, comments and continued lines have systemd's meaning."""
    text, expected = CASES[name]
    assert expected == parse_environment(text)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("A=1\nexport B=2\n", "line 2: not of the form NAME=value"),
        ("A\n", "line 1: not of the form NAME=value"),
        ("\n9A=1\n", "line 2: not of the form NAME=value"),
        ("A='secret\nB=2\n", "line 1: a quote is not closed"),
    ],
)
def test_a_faulty_line_is_named_without_its_value(text, reason):
    """The error names the line; a value may be a secret."""
    with pytest.raises(EnvironmentFileError) as raised:
        parse_environment(text)
    assert reason == str(raised.value)


@pytest.mark.parametrize("content", [b"A=\xff\n", b"A=" + b"x" * SIZE_LIMIT])
def test_a_file_that_is_no_text_or_too_large_is_refused(tmp_path, content):
    """Neither is an environment file."""
    (tmp_path / "environment").write_bytes(content)
    with pytest.raises(EnvironmentFileError):
        read_environment(tmp_path / "environment")
