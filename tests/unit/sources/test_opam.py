# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The opam file format: read as opam reads it, printed as opam prints it, and bounded."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.sources.opam import (
    Binary,
    Boolean,
    File,
    Group,
    Identifier,
    Integer,
    Item,
    List,
    Logical,
    OpamSyntaxError,
    Option,
    Prefixed,
    Section,
    String,
    Value,
    Variable,
)
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.sources.opam_parsing import parse, parse_value
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.sources.opam_printing import printed
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.sources.switch_export import parse_switch_export

A, B, C, D = (Identifier(name) for name in "abcd")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('"plain"', String("plain")),
        (r'"a\"b\\c\n\t\065\x41"', String('a"b\\c\n\tAA')),
        ('"joined \\\n     lines"', String("joined lines")),
        ('"""say "hi" twice"""', String('say "hi" twice')),
        ('"""\\\nfirst\nsecond"""', String("first\nsecond")),
        ('"windows\r\nline"', String("windows\nline")),
        ('""', String("")),
        ("true", Boolean(True)),
        ("-1_000", Integer(-1000)),
        ("true-ish", Identifier("true-ish")),
        ("5x", Identifier("5x")),
        ("foo:bar", Identifier("foo:bar")),
        ("a+b+_:c", Identifier("a+b+_:c")),
        ("[]", List(())),
        ("[a [b] (c d)]", List((A, List((B,)), Group((C, D))))),
        ("a # comment\n", A),
        ("(* outer (* inner *) still *) a", A),
        ('"x" {a & b | c & d}', Option(String("x"), (Logical("|", (Logical("&", (A, B)), Logical("&", (C, D)))),))),
        ("a & b & c", Logical("&", (A, B, C))),
        ("!a & b", Logical("&", (Prefixed("!", A), B))),
        ("!a {b}", Prefixed("!", Option(A, (B,)))),
        ("?a", Prefixed("?", A)),
        ('{>= "1"}', None),
        (
            '"x" {>= "1" & < "2"}',
            Option(String("x"), (Logical("&", (Prefixed(">=", String("1")), Prefixed("<", String("2")))),)),
        ),
        ('a = "b"', Binary("=", A, String("b"))),
        ('PATH += "x"', Binary("+=", Identifier("PATH"), String("x"))),
        ('PATH =+= "x"', Binary("=+=", Identifier("PATH"), String("x"))),
        ('a != "b" | c', Logical("|", (Binary("!=", A, String("b")), C))),
    ],
)
def test_values_are_read_as_opam_reads_them(text: str, value: Any) -> None:
    if value is None:
        with pytest.raises(OpamSyntaxError):
            parse_value(text)
    else:
        assert parse_value(text) == value


def test_files_have_variables_and_sections_with_and_without_names() -> None:
    file = parse('name: "x"\nurl {\n  src: "u"\n}\nextra-source "f" { src: "v" }\n')
    assert file == File(
        (
            Variable("name", String("x")),
            Section("url", None, (Variable("src", String("u")),)),
            Section("extra-source", "f", (Variable("src", String("v")),)),
        )
    )


@pytest.mark.parametrize(
    "text",
    [
        "a",
        "a:",
        "a: [",
        "a: ]",
        'a: "unterminated',
        'a: """unterminated"',
        "a: (* unterminated",
        r'a: "\q"',
        r'a: "\999"',
        "a: 1.2",
        "a: $",
        "a: b }",
        "a: b &",
        'package "x" {',
        "a: 99999999999999999999999",
        "a: " + "[" * 500,
        "a: " + "(" * 500 + ")" * 500,
        "a: " + "!" * 5000 + "b",
        "a: b" + " {c}" * 500,
        "s { " * 500,
        "\x00",
    ],
)
def test_what_is_no_opam_file_is_a_syntax_error_and_never_a_full_stack(text: str) -> None:
    with pytest.raises(OpamSyntaxError):
        parse(text)


def test_a_syntax_error_names_the_line() -> None:
    with pytest.raises(OpamSyntaxError, match="line 3"):
        parse('a: "x"\n# comment\nb: }')


def test_long_chains_and_lists_are_no_depth() -> None:
    value = parse_value(" | ".join(["a"] * 20_000))
    assert isinstance(value, Logical) and len(value.operands) == 20_000
    assert printed([Variable("x-a", List((value,)))])


def test_a_switch_export_is_read_whole() -> None:
    export = parse_switch_export(
        'installed: ["a.1.2" "b-c.~dev"]\nroots: "a.1.2"\npackage "a" {\n  name: "a"\n}\npackage "b-c" {}\n'
    )
    assert export.installed == {"a": "1.2", "b-c": "~dev"}
    assert export.roots == ("a",)
    assert export.definitions == {"a": (Variable("name", String("a")),), "b-c": ()}


@pytest.mark.parametrize("text", ['installed: ["a"]', 'installed: [".1"]', "package { }"])
def test_a_switch_export_of_another_shape_is_refused(text: str) -> None:
    with pytest.raises(OpamSyntaxError):
        parse_switch_export(text)


# --- what is printed reads back the same --------------------------------------------------------

names = st.text(alphabet="abcx-", max_size=5).map(lambda rest: f"a{rest}")
texts = st.text(alphabet=st.sampled_from("ab \\\"\n\t'{}#*é\r"), max_size=90)
atoms: st.SearchStrategy[Value] = st.one_of(
    texts.map(String), names.map(Identifier), st.integers(-1000, 1000).map(Integer), st.booleans().map(Boolean)
)
# Behind another value, a comparison without a left side would take that value for its left side: so it comes alone.
constraint = st.builds(Prefixed, st.sampled_from([">=", "=", "~"]), atoms).map(lambda value: (value,))


def larger(inner: st.SearchStrategy[Value]) -> st.SearchStrategy[Value]:
    several = st.lists(inner, max_size=3).map(tuple)
    bracketed = st.one_of(several.map(List), several.map(Group))
    return st.one_of(
        bracketed,
        st.builds(Option, st.one_of(atoms, bracketed), st.one_of(several, constraint)),
        st.builds(Prefixed, st.sampled_from(["!", "?"]), st.one_of(atoms, bracketed)),
        st.builds(Binary, st.sampled_from(["=", "!=", "<", "+=", "=:"]), atoms, atoms),
        st.builds(Logical, st.just("&"), st.lists(st.one_of(atoms, bracketed), min_size=2, max_size=3).map(tuple)),
    )


values = st.recursive(atoms, larger, max_leaves=6)
variables = st.builds(Variable, names.map(lambda name: f"x-{name}"), values)


def as_items(items: list[Variable]) -> list[Item]:
    """Each name once, as in an opam file."""
    return sorted({item.name: item for item in items}.values(), key=lambda item: item.name)


@settings(max_examples=80)
@given(st.lists(variables, max_size=3))
def test_what_is_printed_reads_back_the_same(items: list[Variable]) -> None:
    kept = [item for item in as_items(items) if item.value not in (List(()), List((List(()),)))]
    assert parse(printed(kept)).items == tuple(kept)


@settings(max_examples=80)
@given(st.lists(variables, max_size=3))
def test_printing_again_changes_nothing(items: list[Variable]) -> None:
    once = printed(as_items(items))
    assert printed(parse(once).items) == once


@settings(max_examples=200)
@given(st.text(alphabet='abx1:{}[]()"\\#*&|!=<>~+? \n', max_size=60))
def test_any_text_is_a_file_or_a_syntax_error(text: str) -> None:
    try:
        parse(text)
    except OpamSyntaxError as error:
        assert str(error)
