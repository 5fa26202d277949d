// Whoever follows a link from another site, as from a chat, comes without the cookie (SameSite=Strict) and so to the page
// that asks for a token. From here the cookie goes along: if it is good, on to the page that was wanted.
"use strict";
(async () => {
  const on = document.getElementById("on");
  const answer = await fetch(on.href, { headers: { Accept: "text/html" }, redirect: "manual" }).catch(() => null);
  if (answer && answer.ok) location.replace(on.href);
})();
