// A text to train on: sentences of a small grammar, simple enough to be learned in a minute.

const WHO = ["the fox", "a small bird", "the old cat", "my dog", "the grey owl", "a fat toad"];
const DOES = ["sees", "follows", "likes", "hears", "finds", "waits for"];
const WHERE = ["in the wood", "by the lake", "near the house", "under a tree", "on the hill"];
const THEN = ["and sings", "and runs home", "and falls asleep", "but says nothing", "and is happy"];

export function exampleText(sentences = 90) {
  let seed = 7; // a small generator, so that everybody in a class has the same text
  const choose = (list) => {
    seed = (1103515245 * seed + 12345) % 2147483648;
    return list[Math.floor((seed / 2147483648) * list.length)];
  };
  return Array.from({ length: sentences }, () =>
    `${choose(WHO)} ${choose(DOES)} ${choose(WHO)} ${choose(WHERE)} ${choose(THEN)}.\n`).join("");
}
