// What a reader's browser makes of a report: run in a frame of every width, light and dark. Each fault becomes a line.
const faults = [];
const say = (where, what) => faults.push(where + ': ' + what);

// Two boxes share more than a hair: letters do not fill the height of their line.
const overlap = (a, b) => {
  const across = Math.min(a.right, b.right) - Math.max(a.left, b.left);
  const down = Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top);
  const height = Math.min(a.height, b.height);
  return across > 1.5 && down > 0.4 * height;
};

function checkPictures(where, root) {
  root.querySelectorAll('svg').forEach((svg) => {
    const name = (svg.closest('figure') || svg).id || svg.getAttribute('aria-label');
    const frame = svg.getBoundingClientRect();
    const texts = [...svg.querySelectorAll('text')].filter((t) => t.textContent.trim() !== '');
    if (texts.length < 3) say(where, name + ': ' + texts.length + ' texts');
    const boxes = texts.map((t) => t.getBoundingClientRect());
    texts.forEach((t, i) => {
      const box = boxes[i], scale = frame.width / svg.viewBox.baseVal.width;
      if (box.left < frame.left - 2 * scale || box.right > frame.right + 2 * scale || box.bottom > frame.bottom + 2 * scale)
        say(where, name + ': "' + t.textContent.trim() + '" leaves the picture');
      for (let j = 0; j < i; j++)
        if (overlap(box, boxes[j])) say(where, name + ': "' + t.textContent.trim() + '" over "' + texts[j].textContent.trim() + '"');
    });
  });
}

// WCAG 2: relative luminance and contrast ratio.
const channels = (colour) => colour.match(/[\d.]+/g).map(Number);
const luminance = (rgb) => rgb.slice(0, 3).map((c) => c / 255).map((c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4))
  .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
function checkContrast(where, page) {
  const background = (e) => {
    for (; e; e = e.parentElement) {
      const rgb = channels(page.getComputedStyle(e).backgroundColor);
      if (rgb.length < 4 || rgb[3] > 0) return rgb;
    }
    return [255, 255, 255];
  };
  const seen = new Set();
  page.document.querySelectorAll('body *').forEach((e) => {
    if (e.closest('svg,script') || ![...e.childNodes].some((n) => n.nodeType === 3 && n.textContent.trim() !== '')) return;
    const [a, b] = [luminance(channels(page.getComputedStyle(e).color)), luminance(background(e))];
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (ratio < 4.5 && !seen.has(e.className + e.tagName)) say(where, e.tagName + '.' + e.className + ' has contrast ' + ratio.toFixed(2));
    seen.add(e.className + e.tagName);
  });
}

function checkSorting(where, document) {
  document.querySelectorAll('.table table').forEach((table) => {
    const heads = [...table.tHead.rows[0].cells], rows = () => [...table.tBodies[0].rows];
    const before = rows().map((r) => r.textContent).sort().join('\n');
    heads.forEach((head, i) => {
      const number = head.classList.contains('n');
      const keys = () => rows().map((r) => r.cells[i].title || r.cells[i].textContent).map((s) => (number ? parseFloat(s) : s))
        .filter((x) => !number || !isNaN(x));
      const sorted = (list, sign) => list.every((x, k) => k === 0 ||
        sign * (number ? x - list[k - 1] : x.localeCompare(list[k - 1], 'en', {numeric: true})) >= 0);
      head.click();
      if (!sorted(keys(), 1)) say(where, 'table ' + table.caption + ' is not ascending by ' + head.textContent);
      head.click();
      if (!sorted(keys(), -1)) say(where, 'table ' + table.caption + ' is not descending by ' + head.textContent);
    });
    if (rows().map((r) => r.textContent).sort().join('\n') !== before) say(where, 'sorting lost a row');
  });
}

async function checkFrame(width, scheme) {
  const frame = document.createElement('iframe');
  frame.style = 'border:0;height:900px;width:' + width + 'px;color-scheme:' + scheme;
  document.body.append(frame);
  await new Promise((done) => { frame.onload = done; frame.src = PAGE; });
  const page = frame.contentWindow, where = scheme + ' ' + width, root = page.document.documentElement;
  if (page.matchMedia('(prefers-color-scheme: dark)').matches !== (scheme === 'dark')) say(where, 'the scheme was not taken');
  if (root.scrollWidth > width) say(where, 'scrolls sideways: ' + root.scrollWidth);
  const findings = page.document.querySelector('.findings');
  if (findings.scrollWidth > findings.clientWidth) say(where, 'the findings scroll sideways');
  checkPictures(where, page.document);
  checkContrast(where, page);
  checkSorting(where, page.document);
  frame.remove();
}

(async () => {
  for (const scheme of ['light', 'dark'])
    for (const width of [400, 800, 1400]) await checkFrame(width, scheme);
  checkPictures('figures', document);
  document.getElementById('said').textContent = faults.length === 0 ? 'NO FAULT' : 'FAULTS\n' + faults.join('\n');
})();
