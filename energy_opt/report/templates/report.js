(function () {
  "use strict";
  var figures = JSON.parse(document.getElementById("data").textContent);
  var dark = window.matchMedia("(prefers-color-scheme: dark)");

  function look(layout) {
    var style = getComputedStyle(document.body);
    var ink = style.getPropertyValue("--fg").trim();
    var line = style.getPropertyValue("--line").trim();
    var result = Object.assign({}, layout, {
      paper_bgcolor: "rgba(0,0,0,0)",
      plot_bgcolor: "rgba(0,0,0,0)",
      font: { color: ink, family: style.fontFamily, size: 13 },
      modebar: { bgcolor: "rgba(0,0,0,0)", color: line, activecolor: ink }
    });
    ["xaxis", "yaxis"].forEach(function (axis) {
      if (layout[axis]) {
        result[axis] = Object.assign({}, layout[axis], { gridcolor: line, linecolor: line });
      }
    });
    return result;
  }

  // "ink" and "page" stand for the page's own colours, which change with light and dark.
  function paint(trace) {
    var style = getComputedStyle(document.body);
    var ink = style.getPropertyValue("--fg").trim();
    if (trace.type !== "icicle") { return trace; }
    return Object.assign({}, trace, {
      textfont: { color: trace.textfont.color.map(function (c) { return c === "ink" ? ink : c; }) },
      marker: {
        colors: trace.marker.colors,
        line: { width: 1, color: style.getPropertyValue("--bg").trim() }
      },
      pathbar: Object.assign({}, trace.pathbar, { textfont: { color: ink } })
    });
  }

  function draw() {
    Object.keys(figures).forEach(function (name) {
      var place = document.getElementById(name);
      if (place && figures[name]) {
        Plotly.react(place, figures[name].data.map(paint), look(figures[name].layout), {
          displaylogo: false, responsive: true, displayModeBar: name === "roofline",
          modeBarButtons: [["toImage", "zoom2d", "pan2d", "resetScale2d"]]
        });
      }
    });
  }

  function value(row, column, numeric) {
    var cell = row.cells[column];
    return numeric ? parseFloat(cell.dataset.v) : cell.textContent;
  }

  function sort(table, heading, column) {
    var numeric = heading.classList.contains("n");
    var before = heading.getAttribute("aria-sort");
    var down = before ? before !== "descending" : numeric;
    var body = table.tBodies[0];
    var rows = Array.from(body.rows);
    rows.sort(function (a, b) {
      var x = value(a, column, numeric), y = value(b, column, numeric);
      if (!numeric) { return down ? y.localeCompare(x) : x.localeCompare(y); }
      if (isNaN(x) || isNaN(y)) { return isNaN(x) - isNaN(y); }
      return down ? y - x : x - y;
    });
    Array.from(heading.parentNode.cells).forEach(function (cell) { cell.removeAttribute("aria-sort"); });
    heading.setAttribute("aria-sort", down ? "descending" : "ascending");
    body.append.apply(body, rows);
  }

  document.querySelectorAll("table[id]").forEach(function (table) {
    Array.from(table.tHead.rows[0].cells).forEach(function (heading, column) {
      heading.addEventListener("click", function () { sort(table, heading, column); });
    });
  });
  draw();
  dark.addEventListener("change", draw);
})();
