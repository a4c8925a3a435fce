"""Tables, CSV and the HTML page of bench/peers.py."""
import csv
import html
import math

from results import summaries

e = html.escape


def number(value, digits=2):
    return "-" if value is None or not math.isfinite(value) else f"{value:.{digits}f}" if value < 1000 else f"{value:.0f}"


def with_interval(i, digits=2):
    """2.31 [2.25, 2.40]; a ~ before it where the interval contains 1."""
    return "-" if i is None else f"{'~' if i.verdict == 'tie' else ''}{number(i.value, digits)} [{number(i.low, digits)}, {number(i.high, digits)}]"


def counted(s):
    return f"faster on {s.counts['win']}, slower on {s.counts['loss']}, undecided on {s.counts['tie']}"


def files(rows):
    return list(dict.fromkeys(r.file for r in rows))


def failed_sides(rows):
    return [(r, s) for r in rows for s in r.peers if s.failed]


def terms(options):
    """What is computed: "bwd-data NCHW, packing included"."""
    return ("" if options.operation == "fwd" else options.operation + " ") + options.layout.upper() + (", packing included" if options.include_packing else "") + (", filters of rank one" if options.rank_one else "")


def cpu_name():
    try:
        for line in open("/proc/cpuinfo"):
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return "unknown processor"


# ------------------------------------------------------------------------------------------------------------- terminal


def header(layout):
    return (f"{'shape':24} {'fourfold ms':>11} {'algorithm':>10} {'GFLOP/s':>8} {'spread':>6} {f'x torch {layout.upper()}':>20} "
            f"{'x best, same layout':>20} {'x best':>20}  best peer")


def print_row(row):
    if row.failure:
        print(f"{row.problem.name:24} FAILED: {row.failure}", flush=True)
        return
    ratios = [with_interval(row.ratio(s) if s else None) for s in (row.baseline, row.same_layout, row.best)]
    print(f"{row.problem.name:24} {number(row.ours.ms, 3):>11} {row.algorithm:>10} {number(row.problem.flops / row.ours.ms / 1e6, 1):>8} "
          f"{100 * row.ours.spread:5.0f}% {ratios[0]:>20} {ratios[1]:>20} {ratios[2]:>20}  {row.best.name if row.best else '-'}", flush=True)
    for side in row.peers:
        if side.failed:
            print(f"    {side.name}: {side.note}", flush=True)


def print_summary(rows):
    for file in files(rows):
        here = [r for r in rows if r.file == file]
        print(f"\n{file}")
        for s in summaries(here):
            print(f"  {s.rival + ' / fourfold':36} geomean {with_interval(s.geomean):22} worst {with_interval(s.worst_ratio)} ({s.worst.problem.name}); {counted(s)}")
        for r in here:
            if r.failure:
                print(f"  {r.problem.name} failed: {r.failure}")
        for r, s in failed_sides(here):
            print(f"  left out: {s.name} on {r.problem.name}: {s.note}")
    print()


# ------------------------------------------------------------------------------------------------------------------ CSV


def side_names(rows):
    return list(dict.fromkeys(s.name for r in rows for s in r.timed))


def write_csv(path, rows, options):
    names = side_names(rows)
    columns = ("ms", "ratio", "low", "high", "error")
    with open(path, "w", newline="") as file:
        out = csv.writer(file)
        out.writerow(["file", "name", "problem", "layout", "threads", "rounds", "algorithm", "variant", "fourfold_ms", "fourfold_spread", "fourfold_error",
                      "gflops", "best_same_layout", "best_peer", *(f"{n}_{c}" for n in names for c in columns), "failure", "left_out"])
        for r in rows:
            sides = {s.name: s for s in r.timed}
            cells = []
            for n in names:
                s = sides.get(n)
                i = r.ratio(s) if s and not r.failure else None
                cells += [f"{s.ms:.6g}", f"{i.value:.4g}", f"{i.low:.4g}", f"{i.high:.4g}", f"{s.error:.2g}"] if i else [""] * len(columns)
            out.writerow([r.file, r.problem.name, r.problem.line(), r.layout, options.threads, options.rounds, r.algorithm, r.variant, f"{r.ours.ms:.6g}",
                          f"{r.ours.spread:.3f}", f"{r.ours.error:.2g}", f"{r.problem.flops / r.ours.ms / 1e6:.5g}", r.same_layout.name if r.same_layout else "",
                          r.best.name if r.best else "", *cells, r.failure, "; ".join(f"{s.name}: {s.note}" for s in r.peers if s.failed)])


# ----------------------------------------------------------------------------------------------------------------- HTML

STYLE = """
:root { color-scheme: light dark; --paper: #fcfcfa; --ink: #23262b; --soft: #6a7078; --line: #8883; --card: #f2f2ee;
  --win: #2b8a5e; --loss: #c4472f; --tie: #9a8a4a; --win-tint: #2b8a5e12; --loss-tint: #c4472f14;
  --nchw: #2a78d6; --nhwc: #d9822b; --blocks: #8a57c9; --plane: #159a9a; }
@media (prefers-color-scheme: dark) { :root { --paper: #16181b; --ink: #e4e6e8; --soft: #989fa7; --card: #202327;
  --win: #4dbb86; --loss: #ee7a5f; --tie: #c9b76a; --win-tint: #4dbb8614; --loss-tint: #ee7a5f18;
  --nchw: #5fa3f0; --nhwc: #f0a350; --blocks: #b18cf0; --plane: #44c4c4; } }
* { box-sizing: border-box; }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 86rem; margin: 0 auto; padding: 2rem 1.5rem 4rem; background: var(--paper); color: var(--ink); }
h1 { font-size: 1.7rem; margin: 0 0 .3rem; } h2 { font-size: 1.25rem; margin: 2.6rem 0 .6rem; } p { margin: .4rem 0; max-width: 60rem; }
a { color: inherit; } .soft, small { color: var(--soft); } small { font-size: .8rem; }
.cards { display: grid; grid-template-columns: repeat(auto-fit, minmax(17rem, 1fr)); gap: .8rem; margin: .8rem 0 1rem; }
.card { background: var(--card); border-radius: .6rem; padding: .8rem 1rem; }
.card strong { font-size: 1.7rem; line-height: 1.2; margin-right: .4rem; } .card div { margin: .1rem 0; }
.counts { display: flex; height: .5rem; border-radius: .25rem; overflow: hidden; margin: .5rem 0 .3rem !important; }
.counts i.win { background: var(--win); } .counts i.tie { background: var(--tie); } .counts i.loss { background: var(--loss); }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; white-space: nowrap; }
th { font-weight: 600; font-size: .82rem; color: var(--soft); vertical-align: bottom; }
th, td { text-align: right; padding: .25rem .5rem; border-bottom: 1px solid var(--line); line-height: 1.25; }
th:first-child, td:first-child, .text { text-align: left; } td small { display: block; }
td.chart, th.chart { padding: 0 .4rem; } svg { display: block; }
.win { color: var(--win); fill: var(--win); } .loss { color: var(--loss); fill: var(--loss); } .tie { color: var(--tie); fill: var(--tie); }
b.win, b.loss, b.tie { fill: none; } tr.loss td:first-child { color: inherit; box-shadow: inset 4px 0 var(--loss); } tr.loss { color: inherit; }
tr.failed td { color: var(--loss); white-space: normal; }
.win-tint { fill: var(--win-tint); } .loss-tint { fill: var(--loss-tint); } .grid { stroke: var(--line); } .one { stroke: var(--soft); }
.whisker { stroke: var(--ink); stroke-width: 1.5; } .scale { fill: var(--soft); font-size: 11px; text-anchor: middle; }
.dot { stroke-width: 2; } .nchw { stroke: var(--nchw); fill: var(--nchw); } .nhwc { stroke: var(--nhwc); fill: var(--nhwc); }
.blocks { stroke: var(--blocks); fill: var(--blocks); } .plane { stroke: var(--plane); fill: var(--plane); } .dot.plain { fill: var(--paper); }
.key { color: var(--soft); } .key span { margin-right: .8rem; white-space: nowrap; } .key svg { display: inline; margin-right: .3rem; vertical-align: -1px; }
details { margin: .8rem 0; } summary { cursor: pointer; color: var(--soft); }
ul { padding-left: 1.2rem; }
"""

LOW, HIGH, WIDTH, HEIGHT, EDGE = -2, 5, 350, 30, 10  # of the charts: ratios from 2^LOW to 2^HIGH


def place(ratio):
    return EDGE + (WIDTH - 2 * EDGE) * (min(max(math.log2(ratio), LOW), HIGH) - LOW) / (HIGH - LOW)


def family(layout):
    return {"NCHW": "nchw", "NHWC": "nhwc", "plane": "plane"}.get(layout, "blocks")


def dot(x, y, side_layout, side_filters, title=""):
    return f'<circle class="dot {family(side_layout)} {side_filters}" cx="{x:.1f}" cy="{y}" r="4">{f"<title>{e(title)}</title>" if title else ""}</circle>'


def background():
    lines = "".join(f'<line class="{"one" if k == 0 else "grid"}" x1="{place(2**k):.1f}" x2="{place(2**k):.1f}" y1="0" y2="{HEIGHT}"/>' for k in range(LOW, HIGH + 1))
    return (f'<rect class="loss-tint" width="{place(1):.1f}" height="{HEIGHT}"/><rect class="win-tint" x="{place(1):.1f}" width="{WIDTH - place(1):.1f}" '
            f'height="{HEIGHT}"/>{lines}')


def chart(row):
    """A bar to the best peer's ratio with its interval as a whisker, and a dot for every side."""
    best = row.ratio(row.best)
    one, end, middle = place(1), place(best.value), HEIGHT / 2
    low, high = place(best.low), place(best.high)
    parts = [f'<svg width="{WIDTH}" height="{HEIGHT}" role="img" aria-label="best peer {with_interval(best)}">', background(),
             f'<rect class="{best.verdict}" fill-opacity=".55" x="{min(one, end):.1f}" y="{middle - 5}" width="{max(1, abs(end - one)):.1f}" height="10"/>']
    for s in sorted(row.timed, key=lambda s: -s.ms):
        i = row.ratio(s)
        beyond = " (beyond the scale)" if not 2**LOW <= i.value <= 2**HIGH else ""
        parts.append(dot(place(i.value), middle, s.layout, s.filters, f"{s.name} {number(s.ms, 3)} ms, ratio {with_interval(i)}{beyond} {s.detail}"))
    parts.append(f'<path class="whisker" fill="none" d="M{low:.1f} {middle - 9}v18M{high:.1f} {middle - 9}v18M{low:.1f} {middle + 8}H{high:.1f}"/></svg>')
    return "".join(parts)


def scale():
    labels = {k: f"1/{2**-k}" if k < 0 else str(2**k) for k in range(LOW, HIGH + 1)}
    texts = "".join(f'<text class="scale" x="{place(2**k):.1f}" y="30">{text}</text>' for k, text in labels.items())
    return (f'<svg width="{WIDTH}" height="34"><text class="scale loss" x="{place(2 ** (LOW / 2)):.1f}" y="13">peer faster</text>'
            f'<text class="scale win" x="{place(2 ** (HIGH / 2)):.1f}" y="13">fourfold faster</text>{texts}</svg>')


def ratio_cell(row, side, named=True):
    if not side:
        return '<td class="soft">-'
    i = row.ratio(side)
    return (f'<td><b class="{i.verdict}">{"~" if i.verdict == "tie" else ""}{number(i.value)}</b> <small style="display:inline">{number(i.low)} to {number(i.high)}</small>'
            + (f"<small>{e(side.name)}</small>" if named else ""))


def card(s):
    g = s.geomean
    flex = "".join(f'<i class="{v}" style="flex:{n}"></i>' for v, n in s.counts.items() if n)
    return (f'<div class="card"><div class="soft">{e(s.rival)} / fourfold</div><div><strong class="{g.verdict}">{"~" if g.verdict == "tie" else ""}{number(g.value)}</strong>'
            f'<span class="soft">{number(g.low)} to {number(g.high)}, geometric mean</span></div><div class="counts">{flex}</div><div>{e(counted(s))}</div>'
            f'<div class="soft">worst: {e(s.worst.problem.name)} {e(with_interval(s.worst_ratio))}</div></div>')


def key():
    """What the charts' dots mean."""
    layouts = "".join(f'<span><svg width="12" height="12">{dot(6, 6, name, "packed")}</svg>{e(text)}</span>'
                      for name, text in (("NCHW", "NCHW"), ("NHWC", "NHWC"), ("blocks", "oneDNN's own layout"), ("plane", "a single plane")))
    filters = (f'<span><svg width="12" height="12">{dot(6, 6, "NCHW", "packed")}</svg>filters packed beforehand</span>'
               f'<span><svg width="12" height="12">{dot(6, 6, "NCHW", "plain")}</svg>plain filters</span>')
    return f'<p class="key">Each dot is a side: {layouts}· {filters}· the bar ends at the fastest, |—| is its interval. Point at a dot for its name and kernel.</p>'


def legend(rows, options):
    kinds = {s.name: s for r in rows for s in r.peers}
    seen = {s.name for r in rows for s in r.timed}
    order = "packed beforehand", "plain, as the program has them"
    ours = "none" if options.operation == "bwd-filters" else order[options.include_packing]
    lines = "".join(
        f'<tr><td><svg width="12" height="12" style="display:inline">{dot(6, 6, s.layout, s.filters)}</svg> {e(n)}<td class="text">{e(s.layout)}<td class="text">{order[s.filters == "plain"]}'
        f'<td class="text">{"" if n in seen else "no times here"}</tr>' for n, s in kinds.items())
    return ('<h2>The sides</h2><div class="wide"><table><tr><th>side<th class="text">reads and writes<th class="text">filters<th></tr>'
            f'<tr><td><b>fourfold</b><td class="text">{options.layout.upper()}<td class="text">{ours}<td></tr>{lines}</table></div>')


def losses(rows):
    """The shapes on which the best peer is surely faster, the worst first."""
    lost = sorted((r for r in rows if r.best and not r.failure and r.ratio(r.best).verdict == "loss"), key=lambda r: r.ratio(r.best).value)
    if not lost:
        return "<h2 id=losses>Where a peer is faster</h2><p>On none of these shapes.</p>"
    lines = "".join(f'<tr><td>{e(r.problem.name)}<small>{e(r.problem.line())}</small><td class="text">{e(r.algorithm)}{ratio_cell(r, r.best, False)}<td class="text">{e(r.best.name)}'
                    f'<small>{e(r.best.detail)}</small><td class="text">{e(r.best.layout)}<td class="text">{e(r.best.filters)}{ratio_cell(r, r.same_layout)}</tr>' for r in lost)
    return (f'<h2 id="losses">Where a peer is faster</h2><p>{len(lost)} of {len(rows)} shapes, the worst first.</p><div class="wide"><table><tr><th>shape<th class="text">our algorithm'
            f'<th>best peer / fourfold<th class="text">peer<th class="text">layout<th class="text">filters<th>same layout</tr>{lines}</table></div>')


def left_out(rows):
    failed = [(r, s.name, s.note) for r, s in failed_sides(rows)] + [(r, "fourfold", r.failure) for r in rows if r.failure]
    if not failed:
        return ""
    return ("<h2 id=failed>Failed</h2><p>These sides have no times where named here.</p><ul>"
            + "".join(f'<li><span class="loss">{e(name)}</span> on {e(r.problem.name)} ({e(r.file)}): {e(note)}' for r, name, note in failed) + "</ul>")


def file_section(file, rows):
    names, parts = side_names(rows), [f"<h2>{e(file)}</h2>"]
    parts.append('<div class="cards">' + "".join(card(s) for s in summaries(rows)) + "</div>")
    parts.append(f'<div class="wide"><table><tr><th>shape<th>fourfold<th class="chart">{scale()}<th>best peer<th>best, same layout<th>{e(summaries(rows)[0].rival) if summaries(rows) else ""}</tr>')
    for r in rows:
        shape = f"<td>{e(r.problem.name)}<small>{e(r.problem.line())}</small>"
        if r.failure or not r.best:
            parts.append(f'<tr class="failed">{shape}<td class="text" colspan="5">{e(r.failure or "no peer has a time")}</tr>')
            continue
        parts.append(f'<tr class="{r.ratio(r.best).verdict}" style="color:inherit">{shape}<td title="{e(r.variant)}; spread {100 * r.ours.spread:.0f} %">{number(r.ours.ms, 3)} ms'
                     f"<small>{e(r.algorithm)}, {number(r.problem.flops / r.ours.ms / 1e6, 0)} GFLOP/s</small><td class=\"chart\">{chart(r)}"
                     f"{ratio_cell(r, r.best)}{ratio_cell(r, r.same_layout)}{ratio_cell(r, r.baseline, False)}</tr>")
    parts.append('</table></div><details><summary>All times in milliseconds</summary><div class="wide"><table><tr><th>shape<th>fourfold' + "".join(f"<th>{e(n)}" for n in names) + "</tr>")
    for r in rows:
        sides = {s.name: s for s in r.peers}
        cells = "".join(f'<td title="{e(sides[n].note or sides[n].detail)}">{number(sides[n].ms, 3)}' if n in sides else "<td>-" for n in names)
        parts.append(f"<tr><td>{e(r.problem.name)}<td>{number(r.ours.ms, 3)}{cells}</tr>")
    parts.append("</table></div></details>")
    return "\n".join(parts)


def write_html(path, rows, options, versions):
    plural = "s" if options.threads > 1 else ""
    parts = [f'<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'
             f"<title>fourfold and its peers</title><style>{STYLE}</style><h1>fourfold and its peers</h1>",
             f'<p class="soft">{e(cpu_name())} · {options.threads} thread{plural} · {options.rounds} round{"s" if options.rounds > 1 else ""} · {e(terms(options))} · {e(" · ".join(versions))}</p>',
             "<p>A ratio is <b>peer time / fourfold time</b>: over 1, fourfold is faster. All sides run in turns on the same threads and their results are checked. "
             'The ratio is the median of the rounds\'; the range after it, and the whisker, is its 95 % interval. '
             'A <b class="tie">~</b> says that the interval contains 1: undecided. <i>Same layout</i>: the fastest peer that reads and writes what fourfold does; '
             "<i>best peer</i>: the fastest of all, whatever its layout.</p>", key()]
    verdicts = [r.ratio(r.best).verdict for r in rows if r.best and not r.failure]
    failures = len(failed_sides(rows)) + sum(bool(r.failure) for r in rows)
    parts.append(f'<p>Against the best peer: faster on <b class="win">{verdicts.count("win")}</b>, slower on <b class="loss">{verdicts.count("loss")}</b> '
                 f'(<a href="#losses">which</a>), undecided on <b class="tie">{verdicts.count("tie")}</b> of {len(rows)} shapes.'
                 + (f' <b class="loss">{failures}</b> <a href="#failed">failed</a>.' if failures else "") + "</p>")
    parts += [file_section(file, [r for r in rows if r.file == file]) for file in files(rows)]
    parts += [losses(rows), left_out(rows), legend(rows, options)]
    path.write_text("\n".join(parts) + "</html>\n", encoding="utf-8")
