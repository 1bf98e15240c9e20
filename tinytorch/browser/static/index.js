// The list of lessons: shows how many exercises of each have passed.

import { Kept } from "./notebook.js";
import { offline } from "./offline.js";

for (const row of document.querySelectorAll("[data-lesson]")) {
  const done = new Kept(row.dataset.lesson).read()?.passed?.length;
  const place = row.querySelector(".done");
  if (done) place.textContent = `, ${done} of ${place.dataset.of} exercises passed`;
}
offline();
