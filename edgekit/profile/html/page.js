"use strict";
/* Draws every chart of the page, one after the other, from the specification beside it. */
(async () => {
  const config = JSON.parse(document.getElementById("config").textContent);
  const options = {
    mode: "vega-lite", renderer: "svg", actions: false, defaultStyle: false, config,
    ast: true, // expressions are interpreted: the page's policy allows no code made from text
    tooltip: { disableDefaultStyle: true },
  };
  for (const place of document.querySelectorAll("[data-chart]")) {
    try {
      await vegaEmbed(place, JSON.parse(place.nextElementSibling.textContent), options);
    } catch (error) {
      place.textContent = "This chart could not be drawn: " + error.message;
      console.error(error);
    }
  }
  document.documentElement.dataset.charts = "drawn";
})();
