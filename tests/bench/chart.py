# SPDX-License-Identifier: GPL-2.0-or-later
"""Results as small bar charts in one SVG, readable on white and on black alike."""
from xml.sax.saxutils import escape

# (heading, phase, metric, unit, more is better)
PANELS = [
    ("Bulk up, 1 stream", "lan", "up1", "MB/s", True),
    ("Bulk down, 1 stream", "lan", "down1", "MB/s", True),
    ("New connections, 32 clients", "lan", "rate", "per second", True),
    ("New connection, median", "lan", "connect_p50", "ms", False),
    ("HTTP requests, 64 connections", "lan", "http", "per second", True),
    ("Memory per idle connection, far", "memory", "idle0_far", "KB", False),
    ("New connections at 50 ms round trip", "wan-50", "rate", "per second", True),
    ("Page with 40 objects at 50 ms", "wan-50", "page", "ms", False),
    ("Echo during a download at 50 ms, p99", "wan-50", "down_echo_p99", "ms", False),
    ("Download at 100 ms round trip", "wan-100", "down", "MB/s", True),
    ("Download at 50 ms, 1 % loss", "wan-loss", "down", "MB/s", True),
    ("Download at 100 ms, 64 MB buffers", "wan-buffers", "down1", "MB/s", True),
]
COLUMNS, WIDTH, BAR, GAP = 3, 400, 13, 5
LABEL, TOP, VALUE = 150, 46, 62
STYLE = """
  text { font: 11px system-ui, sans-serif; fill: #24292f }
  .heading { font-weight: 600; font-size: 13px }
  .small { fill: #6e7781 }
  .ours { fill: #0a7d55 } .our { fill: #7cc4a4 } .plain { fill: #c3c9d1 } .theirs { fill: #7f9cc0 }
  .page { fill: #ffffff }
  @media (prefers-color-scheme: dark) {
    text { fill: #e6edf3 } .small { fill: #8d96a0 } .page { fill: #0d1117 }
    .plain { fill: #484f58 } .ours { fill: #2fbf8a } .our { fill: #1f6b50 } .theirs { fill: #4f6f98 }
  }
"""


def _kind(tunnel):
    if tunnel == "dvpn:trunk":
        return "ours"
    if tunnel.startswith("dvpn"):
        return "our"
    return "plain" if tunnel == "none" else "theirs"


def _number(value):
    return "{:,.0f}".format(value) if value >= 100 else "%.3g" % value


def _panel(results, heading, phase, metric, unit, more):
    """Its height, and a function that draws it at x, y."""
    bars = [(tunnel, title, results.median(phase, tunnel, metric))
            for tunnel, title in results.titles.items()]
    # "No tunnel" may dwarf what is to be compared; its bar is cut then, and its figure says so.
    bars = [b for b in bars if b[2] is not None and b[2] >= 0]
    values = sorted(b[2] for b in bars)
    if not values:
        return None
    limit = values[-1]
    if len(values) > 1 and limit > 3 * values[-2]:
        limit = 1.3 * values[-2]
    room = WIDTH - LABEL - VALUE - 20

    def draw(x, y):
        yield '<text class="heading" x="%d" y="%d">%s</text>' % (x, y + 16, escape(heading))
        yield '<text class="small" x="%d" y="%d">%s, %s is better</text>' % (
            x, y + 32, escape(unit), "more" if more else "less")
        for n, (tunnel, title, value) in enumerate(bars):
            top = y + TOP + n * (BAR + GAP)
            length = max(1, min(value, limit) / limit * room) if limit else 1
            yield '<text x="%d" y="%d" text-anchor="end">%s</text>' % (
                x + LABEL - 8, top + BAR - 3, escape(title.replace(" (default)", "")))
            yield '<rect class="%s" x="%d" y="%d" width="%.1f" height="%d" rx="2"/>' % (
                _kind(tunnel), x + LABEL, top, length, BAR)
            yield '<text class="small" x="%.1f" y="%d">%s%s</text>' % (
                x + LABEL + length + 5, top + BAR - 3, "… " if value > limit else "", _number(value))

    return TOP + len(bars) * (BAR + GAP) + 14, draw


def write_chart(results, path):
    panels = [p for p in (_panel(results, *panel) for panel in PANELS) if p]
    body, y = [], 12
    for row in range(0, len(panels), COLUMNS):
        for column, (_, draw) in enumerate(panels[row:row + COLUMNS]):
            body += draw(16 + column * WIDTH, y)
        y += max(height for height, _ in panels[row:row + COLUMNS])
    with open(path, "w") as out:
        out.write('<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {w} {h}" width="{w}" height="{h}">\n'
                  '<style>{style}</style>\n<rect class="page" width="{w}" height="{h}"/>\n{body}\n</svg>\n'
                  .format(w=COLUMNS * WIDTH + 16, h=y, style=STYLE, body="\n".join(body)))
