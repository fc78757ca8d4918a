"""Which edits turn a draft into its target, and what a block looks like after them (spec/training.md, section 9;
spec/decoding.md section 5, step 9). Lists of tokens, no tensors.

A draft is aligned with its target by the fewest edits. Each of its tokens gets one label: a token (its own: KEEP,
another: SUBSTITUTE), DELETE, or INSERT, which asks for a mask before it. Written at once, the labels give the next
draft; some rounds of labels and edit scans give the target.

The report aligns by a longest common subsequence. Two digits that are wrong would then be deleted and inserted wherever
one of them happens to stand next to its place; by the fewest edits both are substituted, in one round.
"""

# Of alignments with as few edits the one that moves fewer tokens.
SUBSTITUTION, MOVE = 100, 101


def agrees(token, wanted):
    """`wanted`: the token, or a tuple of those that are right in its place."""
    return token in wanted if isinstance(wanted, tuple) else token == wanted


def anchors(draft, target, mask):
    """[(i, j)], increasing: draft[i] is right as target[j], or a mask that becomes it. What stands between two anchors
    is substituted, surplus aside. Masks at the end are pushed off by insertions: to leave them out costs nothing."""
    first = 0
    while first < min(len(draft), len(target)) and (draft[first] == mask or agrees(draft[first], target[first])):
        first += 1
    found = [(i, i) for i in range(first)]
    rest, wanted = draft[first:], target[first:]
    tail = len(rest)
    while tail and rest[tail - 1] == mask:
        tail -= 1

    # cost[i][j]: of making wanted[:j] of rest[:i].
    cost = [[MOVE * j for j in range(len(wanted) + 1)]]
    for i, token in enumerate(rest):
        above, free = cost[-1], token == mask
        row = [above[0] + (0 if i >= tail else MOVE)]
        for j, right in enumerate(wanted):
            best = above[j] + (0 if free or agrees(token, right) else SUBSTITUTION)
            best = min(best, above[j + 1] + (0 if i >= tail else MOVE), row[j] + MOVE)
            row.append(best)
        cost.append(row)

    # From the end backwards. Insertions and deletions as late as they may be.
    i, j, later = len(rest), len(wanted), []
    while i and j:
        free = rest[i - 1] == mask
        right = free or agrees(rest[i - 1], wanted[j - 1])
        if cost[i][j] == cost[i][j - 1] + MOVE:
            j -= 1
        elif cost[i][j] == cost[i - 1][j] + (0 if i > tail else MOVE):
            i -= 1
        else:
            i, j = i - 1, j - 1
            if right:
                later.append((first + i, first + j))
    return found + later[::-1]


def labels(draft, target, mask, delete, insert):
    """([label of each token of the draft], [its place in the target]): before each anchor, draft and target are paired
    from the left, what the draft has more is deleted, what the target has more is inserted at the anchor, one a round.
    What stands after the last anchor is deleted. A token that is right stays as it is, whichever `target` names first.
    The place of what is deleted is that of the token before it."""
    made, places, i, j = [], [], 0, 0
    for at, wanted in [*anchors(draft, target, mask), (len(draft), None)]:
        pairs = 0 if wanted is None else min(at - i, wanted - j)
        surplus = at - i - pairs
        made += [first_of(right) for right in target[j : j + pairs]] + [delete] * surplus
        places += [*range(j, j + pairs)] + [max(j + pairs - 1, 0)] * surplus
        if wanted is None:
            break
        missing = j + pairs
        if missing < wanted:
            made.append(insert)
            places.append(missing)
        else:
            made.append(first_of(target[wanted]) if draft[at] == mask else draft[at])
            places.append(wanted)
        i, j = at + 1, wanted + 1
    return made, places


def first_of(wanted):
    return wanted[0] if isinstance(wanted, tuple) else wanted


def scanned(written, before, mask, delete, insert):
    """The block after its edits: `written` are the tokens with DELETE and INSERT among them, `before` those that stood
    there. What is inserted is a mask, and the token behind it is the one that stood there; the block is cut or filled
    up with masks to its length."""
    block = []
    for new, old in zip(written, before):
        if new == insert:
            block += [mask, old]
        elif new != delete:
            block.append(new)
    return block[: len(written)] + [mask] * (len(written) - len(block))
