"""The page's one style sheet: screen in light and dark, phones, and A4 paper."""

from typing import Final

__all__ = ["STYLE"]

STYLE: Final = """
:root {
  color-scheme: light dark;
  --bg: #ffffff; --ink: #1b1f24; --soft: #57606a; --line: #c9d1d9; --panel: #f4f6f8;
  --forward: #1f5fa8; --undo: #b3470f; --confirm: #1a7f4b; --bad: #b4232c; --stripe: #f9fafb;
}
@media (prefers-color-scheme: dark) {
  :root {
    --bg: #14171c; --ink: #e6e9ee; --soft: #a3adb9; --line: #3b434d; --panel: #1d222a;
    --forward: #74b0f4; --undo: #f2995c; --confirm: #5ccb92; --bad: #ff8a8f; --stripe: #191d24;
  }
}
* { box-sizing: border-box; }
html { font-size: 15px; }
body {
  margin: 0 auto; padding: 20px 24px 48px; max-width: 920px; background: var(--bg);
  color: var(--ink); font: 1rem/1.45 system-ui, "DejaVu Sans", Arial, sans-serif;
  overflow-wrap: break-word;
}
h1 { font-size: 1.5rem; line-height: 1.25; margin: 0 0 2px; }
h2 {
  font-size: 1.15rem; margin: 34px 0 8px; border-bottom: 1px solid var(--line); padding-bottom: 3px;
}
h3 { font-size: 1rem; margin: 20px 0 6px; }
p { margin: 6px 0; }
code { overflow-wrap: anywhere; }
code { font-family: ui-monospace, "DejaVu Sans Mono", Menlo, monospace; font-size: .86em; }
.soft { color: var(--soft); }
.verdict {
  border: 2px solid currentColor; border-left-width: 12px; border-radius: 4px; padding: 10px 16px;
  margin: 14px 0; background: var(--panel);
}
.verdict strong { display: block; font-size: 1.6rem; line-height: 1.2; letter-spacing: .02em; }
.verdict span { color: var(--ink); display: block; }
.verdict.committed { color: var(--confirm); }
.verdict.rolled_back { color: var(--undo); }
.verdict.closed_by_operator, .verdict.stuck { color: var(--bad); border-style: double;
  border-width: 4px; border-left-width: 14px; }
.verdict.open { color: var(--forward); border-style: dashed; border-left-style: solid; }
.glance { display: grid; grid-template-columns: repeat(3, minmax(0, 1fr)); gap: 10px; margin: 0; }
.glance > div { border: 1px solid var(--line); border-radius: 4px; padding: 8px 12px; }
.glance dt { font-weight: 600; font-size: .85rem; color: var(--soft); }
.glance dd { margin: 0; }
table { border-collapse: collapse; width: 100%; font-size: .87rem; }
caption { text-align: left; font-weight: 600; padding: 4px 0; }
th, td {
  text-align: left; vertical-align: top; padding: 4px 8px; border-bottom: 1px solid var(--line);
}
thead th { border-bottom: 2px solid var(--line); white-space: nowrap; }
thead th.number { white-space: normal; }
tbody th { font-weight: 600; }
.pairs th { width: 11rem; color: var(--soft); }
.card { table-layout: fixed; }
.card tbody th { width: 9rem; color: var(--soft); }
.card thead th:first-child { width: 9rem; }
.card tbody tr:nth-child(even) { background: var(--stripe); }
td div + div { margin-top: 2px; }
.number, thead .number { text-align: right; font-variant-numeric: tabular-nums; }
.number div + div { color: var(--soft); font-size: .8em; }
.number div div:first-child { white-space: nowrap; }
.number div div + div { white-space: nowrap; }
.tight .number div div + div { white-space: normal; overflow-wrap: anywhere; }
.crowded .number div div:first-child { white-space: normal; overflow-wrap: anywhere; }
.wordy td { overflow-wrap: anywhere; min-width: 4.5rem; }
.checks { table-layout: fixed; }
.checks td { overflow-wrap: anywhere; }
.checks th:first-child { width: 6.5rem; }
.checks th:nth-child(2) { width: 30%; } .checks th:nth-child(4) { width: 22%; }
.checks thead th, .wordy thead th, .crowded thead th { white-space: normal; }
.scroll { overflow-x: auto; }
.stack td:last-child:not(.number), .pairs td, .log li, .plain li { overflow-wrap: anywhere; }
.brief td { white-space: nowrap; }
.brief td:last-child { white-space: normal; min-width: 10.5rem; }
.brief tbody th { min-width: 6.5rem; overflow-wrap: anywhere; }
figure { margin: 10px 0 4px; }
figcaption { font-size: .85rem; color: var(--soft); }
svg { display: block; max-width: 100%; height: auto; }
.narrow { display: none; }
ol.log, ul.plain { margin: 4px 0; padding-left: 0; list-style: none; }
ol.log li, ul.plain li {
  padding: 2px 0 2px 12px; border-left: 3px solid var(--line); margin: 3px 0;
}
.result { font-weight: 600; }
.needs li { border-left-color: var(--bad); }
pre {
  background: var(--panel); border: 1px solid var(--line); padding: 8px 12px; white-space: pre-wrap;
  font-size: .82rem; margin: 6px 0;
}
.legend {
  display: flex; flex-wrap: wrap; gap: 2px 16px; padding: 0; margin: 4px 0; list-style: none;
  font-size: .82rem; color: var(--soft);
}
.legend svg { display: inline-block; vertical-align: -2px; margin-right: 5px; }

svg text { font: 11px system-ui, "DejaVu Sans", Arial, sans-serif; fill: var(--ink); }
svg text.halo { paint-order: stroke; stroke: var(--bg); stroke-width: 3px; stroke-linejoin: round; }
svg text.strong { font-weight: 600; }
svg text.dim { fill: var(--soft); }
svg text.small { font-size: 10px; }
.lane { fill: var(--bg); stroke: var(--line); stroke-width: 1; }
.lane.odd { fill: var(--panel); }
.axis { stroke: var(--soft); stroke-width: 1; }
.cut { fill: var(--line); opacity: .45; }
.decision { stroke: var(--ink); stroke-width: 1.4; }
.deadline { stroke: var(--bad); stroke-width: 1.4; stroke-dasharray: 5 4; }
.sent { stroke-width: 2; stroke-dasharray: 2 3; }
.sent.forward { stroke: var(--forward); } .sent.undo { stroke: var(--undo); }
.sent.confirm { stroke: var(--confirm); }
.bar { stroke-width: 1.5; }
.bar.forward { fill: var(--forward); stroke: var(--forward); }
.bar.undo { stroke: var(--undo); } .bar.confirm { stroke: var(--confirm); }
.undo-line { stroke: var(--undo); stroke-width: 2; fill: none; }
.confirm-dot { fill: var(--confirm); }
.out-line { stroke: var(--forward); stroke-width: 1.6; fill: none; }
.doubt-line { stroke: var(--soft); stroke-width: 1; fill: none; }
.bad-line { stroke: var(--bad); stroke-width: 1.2; fill: none; }
.mark { fill: var(--bg); stroke: var(--ink); stroke-width: 1.6; }
.mark.intent, .mark.included, .mark.reveal { stroke-width: 1.2; }
.mark.final, .mark.closed, .mark.decided { fill: var(--ink); }
.mark.failed, .mark.written_off { stroke: var(--bad); stroke-width: 2.4; fill: none; }
.mark.orphaned, .mark.withdrawn, .mark.stuck { stroke: var(--bad); }
.box { fill: var(--bg); stroke-width: 1.4; }
.box.forward { stroke: var(--forward); } .box.undo { stroke: var(--undo); stroke-dasharray: 6 2; }
.box.confirm { stroke: var(--confirm); } .box.failed { stroke: var(--bad); stroke-width: 2.4; }
.box.empty, .box.idle { fill: none; stroke: var(--line); stroke-dasharray: 3 3; }
.edge.forward { fill: var(--forward); } .edge.undo { fill: var(--undo); }
.edge.confirm { fill: var(--confirm); } .edge.failed { fill: var(--bad); }
.arrow { fill: none; stroke-width: 2; }
.arrow.forward { stroke: var(--forward); } .arrow.undo { stroke: var(--undo); }
.strip { fill: none; stroke: var(--line); }
.paper { fill: var(--bg); }
.value { stroke-width: 1; stroke: var(--soft); }
.value.kept, .value.out { stroke: var(--forward); } .value.delivered { stroke: var(--confirm); }
.value.given_up { stroke: var(--bad); }
.value.home { fill: var(--panel); stroke: none; }
.sum { stroke: var(--ink); stroke-width: 2; }

@media (max-width: 640px) {
  html { font-size: 14px; }
  body { padding: 12px 12px 32px; }
  .glance { grid-template-columns: 1fr; }
  .wide { display: none; }
  .narrow { display: block; }
  .pairs th, .card tbody th, .card thead th:first-child { width: 7.2rem; }
  th, td { padding: 4px 5px; }
  .stack thead {
    position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%);
  }
  .stack tr { display: block; border-bottom: 2px solid var(--line); padding: 4px 0; }
  .stack th, .stack td { display: flex; gap: 8px; border: 0; padding: 1px 4px; text-align: left; }
  .brief td { white-space: normal; }
  .stack td { min-width: 0; }
  .checks tbody th:first-child { width: auto; }
  .stack [data-head]::before {
    content: attr(data-head); flex: 0 0 6.5rem; color: var(--soft); font-weight: 400;
  }
}
@page { size: A4; margin: 14mm 12mm; }
@media print {
  :root {
    color-scheme: light;
    --bg: #ffffff; --ink: #000000; --soft: #444444; --line: #aaaaaa; --panel: #f2f2f2;
    --forward: #1f5fa8; --undo: #a03f0c; --confirm: #14663c; --bad: #a01822; --stripe: #ffffff;
  }
  * { print-color-adjust: exact; -webkit-print-color-adjust: exact; }
  html { font-size: 8.5pt; }
  body { max-width: none; padding: 0; line-height: 1.3; }
  h1 { font-size: 15pt; } h2 { font-size: 11pt; margin: 12px 0 4px; }
  h3 { font-size: 9.5pt; margin: 9px 0 3px; }
  .verdict { padding: 5px 12px; margin: 8px 0; } .verdict strong { font-size: 15pt; }
  .glance { gap: 6px; } .glance > div { padding: 3px 8px; }
  th, td { padding: 2px 5px; } p { margin: 3px 0; } figure { margin: 4px 0; }
  ol.log li, ul.plain li { padding: 0 0 0 8px; margin: 2px 0; }
  table { font-size: 7.8pt; }
  .wide { display: block; } .narrow { display: none; }
  h2, h3, caption { break-after: avoid; }
  figure, tr, .verdict, .glance > div, li, table:not(.long):not(.card) { break-inside: avoid; }
  thead { display: table-header-group; }
  .scroll { overflow: visible; }
}
"""
