// Before anything is painted: the chosen theme, and the token of an account link out of the address.
(() => {
  let theme = null;
  let language = null;
  try {
    theme = localStorage.getItem("theme");
    language = localStorage.getItem("language");
  } catch {} // a browser that keeps nothing
  if (theme === "light" || theme === "dark") document.documentElement.dataset.theme = theme;
  if (language === "en") document.documentElement.lang = "en";

  const query = new URLSearchParams(location.search);
  if (query.has("token")) {
    window.accountLink = { token: query.get("token"), enterprise_number: query.get("enterprise_number") };
  } else if (query.has("enterprise_number")) {
    window.enterpriseAsked = query.get("enterprise_number"); // for the form to sign in with
  }
  if (location.search) history.replaceState(null, "", location.pathname + location.hash);
})();
