// The attention weights: a picture of each head, and where the chosen one looks.

import { bars, colour, decodeBase64, el, percent, shade, visible } from "../dom.js";

export function attention(app, panel) {
  const { state } = app;
  const grid = el("div", { className: "maps", role: "group", ariaLabel: "Heads: choose one" });
  const heading = el("h3");
  const map = el("canvas", { className: "map", role: "img", onclick: choose });
  const mark = el("div", { className: "row-mark" });
  const frame = el("div", { className: "map-frame" }, map, mark);
  const looks = el("h3");
  const text = el("div", { className: "tokens plain" });
  const list = el("div");
  panel.append(grid, heading, frame, looks, text, list);

  const picked = { block: 0, head: 0 };
  let weights = []; // of each block: (nh, T, T) integers

  function choose(event) {
    const share = event.offsetY / map.clientHeight;
    state.choose(Math.floor(share * state.ids.length));
  }

  function weight(block, head, query, key) {
    const T = state.ids.length;
    return weights[block][(head * T + query) * T + key] / 65535;
  }

  function drawMap(canvas, block, head) {
    const T = state.ids.length;
    canvas.width = canvas.height = T;
    const context = canvas.getContext("2d");
    const image = context.createImageData(T, T);
    const ink = rgb(colour("--accent"));
    for (let query = 0; query < T; query += 1) {
      for (let key = 0; key <= query; key += 1) {
        // Weights of long texts are small: the square root makes them visible.
        image.data.set([...ink, 255 * Math.sqrt(weight(block, head, query, key))], 4 * (query * T + key));
      }
    }
    context.putImageData(image, 0, 0);
  }

  function drawGrid() {
    const { blocks, heads } = state.about;
    grid.style.setProperty("--columns", heads);
    grid.replaceChildren();
    for (let block = 0; block < blocks; block += 1) {
      grid.append(el("span", { className: "row-name" }, `Block ${block + 1}`));
      for (let head = 0; head < heads; head += 1) {
        const canvas = el("canvas", { ariaHidden: "true" });
        drawMap(canvas, block, head);
        const isOff = state.off.has(`${block},${head}`);
        const button = el("button", {
          type: "button",
          className: isOff ? "thumb off" : "thumb",
          ariaPressed: String(block === picked.block && head === picked.head),
          ariaLabel: `Block ${block + 1}, head ${head + 1}${isOff ? ", knocked out" : ""}`,
          onclick: () => {
            Object.assign(picked, { block, head });
            for (const other of grid.querySelectorAll("button")) other.ariaPressed = String(other === button);
            drawPicked();
          },
        });
        button.append(canvas);
        grid.append(button);
      }
    }
  }

  function drawPicked() {
    const { block, head } = picked;
    const name = `Head ${head + 1} of block ${block + 1}`;
    heading.textContent = name;
    drawMap(map, block, head);
    const query = state.chosen;
    const T = state.ids.length;
    mark.style.top = `${(100 * query) / T}%`;
    mark.style.height = `${100 / T}%`;
    const row = Array.from({ length: query + 1 }, (_, key) => weight(block, head, query, key));
    const order = row.map((p, key) => ({ id: key, text: state.tokens[key], p })).sort((a, b) => b.p - a.p);
    map.ariaLabel = `${name}: attention of ${T} tokens to those before; token ${query + 1} looks most at ` +
      order.slice(0, 3).map((t) => `token ${t.id + 1}, ${visible(t.text)}, ${percent(t.p)}`).join("; ");
    looks.textContent = `From “${visible(state.tokens[query])}” at ${query + 1} it looks at`;
    const most = Math.max(...row);
    text.replaceChildren(
      ...state.tokens.map((token, key) => {
        const chip = el("span", { className: "chip" }, visible(token));
        if (key <= query) chip.title = percent(row[key]);
        else chip.classList.add("hidden-token");
        if (key === query) chip.classList.add("query");
        shade(chip, key <= query ? row[key] / most : 0);
        return chip;
      }),
    );
    const words = (t) => `${percent(t.p)} at ${t.id + 1}`;
    list.replaceChildren(bars(order.slice(0, 5), { words }));
  }

  return {
    async show() {
      const { blocks } = state.about;
      const request = { ids: state.ids, heads: state.heads };
      const replies = [];
      for (let block = 0; block < blocks; block += 1) {
        replies.push(await app.ask("attention", { ...request, block }));
        if (state.ids !== request.ids) return; // the text has changed meanwhile
      }
      weights = replies.map((reply) => new Uint16Array(decodeBase64(reply.weights).buffer));
      picked.block = Math.min(picked.block, blocks - 1);
      picked.head = Math.min(picked.head, state.about.heads - 1);
      drawGrid();
      drawPicked();
    },
  };
}

function rgb(text) {
  const number = Number.parseInt(text.slice(1), 16);
  return [number >> 16, (number >> 8) & 255, number & 255];
}
