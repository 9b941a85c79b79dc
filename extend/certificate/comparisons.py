"""The assertions on a tokenizer: what a new process read of it, held against what it should be."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from extend.certificate.findings import Finding, finding, shown
from extend.certificate.reload import Answer, Reading
from extend.errors import escaped

_PROTO = "sentencepiece.bpe.model"


def contiguous(found: Reading) -> Finding:
    """1: every id from 0 on has one piece, and the length says so."""
    ids = sorted(found.vocabulary.values())
    wrong = next((place for place, index in enumerate(ids) if place != index), None)
    if wrong is not None:
        twice = wrong > 0 and ids[wrong] == ids[wrong - 1]
        told = f"id {ids[wrong]} belongs to two pieces" if twice else f"no piece has id {wrong}"
        return finding(1, False, told)
    if found.size != len(ids):
        return finding(1, False, f"len(tokenizer) is {found.size} and there are {len(ids)} pieces")
    return finding(1, True, f"{len(ids)} pieces with the ids 0 to {len(ids) - 1}")


def pieces_stand(found: Reading, pieces: Sequence[str], *, name: str, exactly: bool) -> Finding:
    """1: the first ids are those of `pieces`, in their order; `exactly` those and no more."""
    if exactly and found.size != len(pieces):
        return finding(1, False, f"{found.size} pieces instead of {len(pieces)}", name=name)
    moved = [piece for index, piece in enumerate(pieces) if found.vocabulary.get(piece) != index]
    told = f"{len(moved)} pieces have another id: {shown(moved)}" if moved else f"{len(pieces)} pieces stand"
    return finding(1, not moved, told, name=name)


def special_stand(found: Reading, special: Mapping[str, tuple[str, int | None] | None]) -> Finding:
    """2: every role has the token and the id it had."""
    wrong = {role: found.special.get(role) for role in special if found.special.get(role) != special[role]}
    if not wrong:
        return finding(2, True, _told(found.special))
    return finding(2, False, f"{_told(wrong)} instead of {_told({role: special[role] for role in wrong})}")


def special_sound(found: Reading) -> Finding:
    """2: the special tokens that there are have ids of their own, inside the vocabulary."""
    roles = {role: token for role, token in found.special.items() if token is not None}
    ids = [index for _, index in roles.values()]
    if not roles:
        return finding(2, None, "there are no special tokens")
    astray = {role: token for role, token in roles.items() if found.vocabulary.get(token[0]) != token[1]}
    if astray:
        return finding(2, False, f"not in the vocabulary: {_told(astray)}")
    return finding(2, len(set(ids)) == len(ids), _told(found.special))


def _told(special: Mapping[str, tuple[str, int | None] | None]) -> str:
    return ", ".join(
        f"{role} {escaped(token[0], limit=20)} {token[1]}" if token else f"no {role}"
        for role, token in special.items()
    )


def added_stand(found: Reading, added: Mapping[str, int]) -> Finding:
    """3: the added tokens are those of the base."""
    wrong = sorted(token for token in {*found.added, *added} if found.added.get(token) != added.get(token))
    told = f"{len(found.added)} instead of {len(added)}, other: {shown(wrong)}"
    return finding(3, not wrong, told if wrong else f"{len(added)} added tokens")


def added_inside(found: Reading) -> Finding:
    """3: the added tokens have ids inside the vocabulary."""
    astray = sorted(token for token, index in found.added.items() if found.vocabulary.get(token) != index)
    told = f"outside the vocabulary: {shown(astray)}" if astray else f"{len(found.added)} added tokens"
    return finding(3, not astray, told)


def same_ids(
    found: Sequence[Any], expected: Sequence[Any], texts: Sequence[str], *, name: str = ""
) -> Finding:
    """4: every text has the same ids."""
    other = [text for text, a, b in zip(texts, found, expected, strict=True) if a != b]
    told = f"{len(other)} of {len(texts)} texts have other ids: {shown(other)}"
    return finding(4, not other, told if other else f"{len(texts)} texts have the same ids", name=name)


def same_case(found: Reading, normal: str) -> Finding:
    """7: the case probe has the base's normal form."""
    told = escaped(found.normal)
    return finding(
        7, found.normal == normal, told if found.normal == normal else f"{told}, not {escaped(normal)}"
    )


def spelt_better(before: Mapping[str, float], after: Mapping[str, float]) -> Finding:
    """6: fewer unknown words; with as many, not more pieces a word.

    In a new script every word was one [UNK], and its fertility of 1.0 was the failure.
    """
    holds = after["unk_rate"] < before["unk_rate"] or (
        after["unk_rate"] == before["unk_rate"] and after["fertility"] <= before["fertility"]
    )
    changes = (f"{name} {before[name]:.4g} to {after[name]:.4g}" for name in ("unk_rate", "fertility"))
    return finding(6, holds, ", ".join(changes))


def drift_measured(drift: Mapping[str, Any]) -> Finding:
    """8: how much the base's own words are cut otherwise was measured."""
    measured = {"sample", "words_changed", "words_newly_unk"} <= drift.keys()
    if not measured:
        return finding(8, False, "the drift of the old languages was not measured")
    changed, unknown = float(drift["words_changed"]), float(drift["words_newly_unk"])
    return finding(
        8, True, f"of {int(drift['sample'])} words {changed:.2%} cut otherwise, {unknown:.2%} newly unknown"
    )


def written_elsewhere(answer: Answer, texts: Sequence[str]) -> Iterator[Finding]:
    """4: what else is in the folder agrees: tokenizer.json read alone, a tokenizer in Python, a proto."""
    fast = answer.fast
    if fast is None:
        return
    if answer.direct is None:
        yield finding(4, None, "no tokenizer.json to compare with")
    elif answer.direct["vocabulary"] != fast.vocabulary:
        yield finding(4, False, "AutoTokenizer has another vocabulary than tokenizer.json")
    else:
        yield same_ids(fast.ids, answer.direct["ids"], texts)
    yield _in_python(answer, texts)
    yield from _proto(answer, fast)


def _proto(answer: Answer, fast: Reading) -> Iterator[Finding]:
    """4: the proto, which slow readers take for tokenizer.json, and all readers when that is not there."""
    if "proto" in answer.errors:
        yield finding(4, False, answer.errors["proto"], name=_PROTO)
    if answer.proto is not None:
        named = {token[0] for token in fast.special.values() if token} | fast.added.keys()
        listed = set(answer.proto["pieces"])
        lacking = sorted(set(fast.vocabulary) - listed - named)
        left_out = sorted(listed - set(fast.vocabulary)) if answer.direct is None else []
        if lacking:
            told = f"it lacks {len(lacking)} pieces: {shown(lacking)}; transformers 4 may read it instead"
        elif left_out:
            told = f"AutoTokenizer leaves out {len(left_out)} of its pieces: {shown(left_out)}"
        else:
            told = "it has every piece"
        yield finding(4, not (lacking or left_out), told, name=_PROTO)


def _in_python(answer: Answer, texts: Sequence[str]) -> Finding:
    if "slow" in answer.errors:
        return finding(4, False, answer.errors["slow"], name="slow tokenizer")
    if answer.slow is None:
        return finding(4, None, "there is none for this folder", name="slow tokenizer")
    if answer.fast and answer.slow["size"] != answer.fast.size:
        told = f"{answer.slow['kind']} has {answer.slow['size']} pieces instead of {answer.fast.size}"
        return finding(4, False, told, name="slow tokenizer")
    return same_ids(answer.slow["ids"], answer.slow["fast"], texts, name="slow tokenizer")


def vocabulary_file(lines: Sequence[str] | None, found: Reading) -> Finding:
    """1: vocab.txt, which transformers 4 reads, has each piece on the line of its id."""
    if lines is None:
        return finding(1, None, "there is no vocab.txt", name="vocab.txt")
    if tuple(lines) == found.pieces:
        return finding(1, True, f"{len(lines)} lines, in id order", name="vocab.txt")
    pairs = zip(lines, found.pieces, strict=False)
    first = next((at for at, (line, piece) in enumerate(pairs) if line != piece), min(len(lines), found.size))
    told = f"{len(lines)} lines for {found.size} pieces, the first that differs is line {first + 1}"
    return finding(1, False, told, name="vocab.txt")


def character_counts(found: Reading, inside: str | None) -> dict[str, int]:
    """How many characters the pieces have, and how many of them lack a form.

    With an `inside` mark (`##`) a character needs both forms, at the start of a word and inside; a word with
    one that lacks a form may become unknown. Without a mark its own piece is enough.
    """
    special = {token[0] for token in found.special.values() if token} | found.added.keys()
    marks = [inside] if inside else ["▁"]
    characters: set[str] = set()
    for piece in found.vocabulary.keys() - special:
        characters |= set(piece.removeprefix(marks[0]))
    start = {character for character in characters if character in found.vocabulary}
    within = {c for c in characters if inside + c in found.vocabulary} if inside else start
    return {
        "characters": len(characters),
        "in_both_forms": len(start & within),
        "only_at_the_start": len(start - within),
        "only_inside": len(within - start),
        "in_no_form": len(characters - start - within),
    }
