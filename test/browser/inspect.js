// inspect returns what is wrong with the page, in words, and its links.
(() => {
  const faults = [];
  const say = (what, e) => faults.push(what + (e ? ': ' + e.outerHTML.slice(0, 160).replace(/\s+/g, ' ') : ''));
  const style = (e) => getComputedStyle(e);
  const visible = (e) => {
    const r = e.getBoundingClientRect();
    return e.checkVisibility({checkOpacity: true, checkVisibilityCSS: true}) && r.width > 1 && r.height > 1 && r.right > 0 && r.bottom + scrollY > 0;
  };

  // The document.
  const root = document.documentElement;
  if (!root.lang) say('the document has no language');
  if (!document.title) say('the document has no title');
  if (root.scrollWidth > root.clientWidth) {
    const scrolls = (e) => e && e !== document.body && (style(e).overflowX !== 'visible' || scrolls(e.parentElement));
    const wide = [...document.body.querySelectorAll('*')].filter((e) => e.getBoundingClientRect().right > root.clientWidth + 1 && !scrolls(e.parentElement));
    say(`it is ${root.scrollWidth} wide and has ${root.clientWidth}`, wide.at(-1));
  }
  if (document.querySelectorAll('main').length !== 1) say('there is not one main');
  const ids = new Set();
  for (const e of document.querySelectorAll('[id]')) {
    if (ids.has(e.id)) say('an id twice', e);
    ids.add(e.id);
  }

  // Headings.
  const headings = [...document.querySelectorAll('h1,h2,h3,h4,h5,h6')];
  if (headings.filter((h) => h.tagName === 'H1').length !== 1) say('there is not one h1');
  let last = 0;
  for (const h of headings) {
    const level = Number(h.tagName[1]);
    if (level > last + 1) say(`a heading of level ${level} after one of ${last}`, h);
    if (!h.textContent.trim()) say('a heading without words', h);
    last = level;
  }

  // Controls, pictures, tables.
  const named = (e) => (e.getAttribute('aria-label') || '').trim() ||
    (e.getAttribute('aria-labelledby') || '').split(/\s+/).some((id) => document.getElementById(id)?.textContent.trim()) ||
    (e.labels && [...e.labels].some((l) => l.textContent.trim()));
  for (const e of document.querySelectorAll('input:not([type=hidden]),select,textarea')) {
    if (!named(e) && !(['submit', 'reset', 'button'].includes(e.type) && e.value)) say('a field without a label', e);
  }
  for (const e of document.querySelectorAll('button,a[href],summary')) {
    if (!e.textContent.trim() && !named(e)) say('a control without words', e);
  }
  for (const e of document.querySelectorAll('img:not([alt])')) say('a picture without a text', e);
  for (const e of document.querySelectorAll('svg')) {
    const hidden = e.closest('[aria-hidden=true]');
    if (!hidden && !(e.getAttribute('role') === 'img' && (named(e) || e.querySelector(':scope > title')))) say('a drawing without a text', e);
  }
  for (const e of document.querySelectorAll('[tabindex]')) if (e.tabIndex > 0) say('an order of its own', e);
  for (const e of document.querySelectorAll('table')) if (!e.querySelector('th')) say('a table without heads', e);
  for (const e of document.querySelectorAll('[style],[onclick]')) say('a style or script inside the page', e);

  // Contrast, WCAG 2.2, 1.4.3.
  const canvas = document.createElement('canvas').getContext('2d', {willReadFrequently: true});
  const colours = new Map();
  const colour = (text) => {
    if (!colours.has(text)) {
      canvas.clearRect(0, 0, 1, 1);
      canvas.fillStyle = '#000';
      canvas.fillStyle = text;
      canvas.fillRect(0, 0, 1, 1);
      const [r, g, b, a] = canvas.getImageData(0, 0, 1, 1).data;
      colours.set(text, [r, g, b, a / 255]);
    }
    return colours.get(text);
  };
  const over = (top, below) => [0, 1, 2].map((i) => top[i] * top[3] + below[i] * (1 - top[3])).concat(1);
  const canvasColour = matchMedia('(prefers-color-scheme: dark)').matches ? [18, 18, 18, 1] : [255, 255, 255, 1];
  const ground = (e) => {
    if (!e) return canvasColour;
    const c = colour(style(e).backgroundColor);
    return c[3] === 1 ? c : over(c, ground(e.parentElement));
  };
  const luminance = (c) => {
    const [r, g, b] = c.map((v) => (v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  let texts = 0, least = 21;
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let node = walker.nextNode(); node && texts < 5000; node = walker.nextNode()) {
    const e = node.parentElement;
    if (!node.data.trim() || !visible(e) || e.closest('[disabled],script,style,noscript')) continue;
    const s = style(e), below = ground(e);
    const ink = over(colour(e.closest('svg') && s.fill !== 'none' ? s.fill : s.color), below);
    const [a, b] = [luminance(ink), luminance(below)].sort((x, y) => y - x);
    const ratio = (a + 0.05) / (b + 0.05);
    const size = parseFloat(s.fontSize), large = size >= 24 || size >= 18.66 && s.fontWeight >= 700;
    texts++;
    least = Math.min(least, ratio);
    if (ratio < (large ? 3 : 4.5)) say(`a contrast of ${ratio.toFixed(2)} of "${node.data.trim().slice(0, 30)}"`, e);
  }

  const links = [...document.querySelectorAll('a[href]')].map((a) => a.getAttribute('href'));
  for (const href of links) {
    if (href.startsWith('#') && href.length > 1 && !document.getElementById(decodeURIComponent(href.slice(1)))) say('a link to nowhere in the page: ' + href);
  }
  return {faults: [...new Set(faults)].slice(0, 20), links, texts, least,
    live: !!document.querySelector('script[src*="live"]'), text: document.body.innerText, height: root.scrollHeight};
})()
