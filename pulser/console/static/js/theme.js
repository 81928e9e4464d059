// Before the first paint: the theme a person chose earlier. Without a choice the system's wish holds, and dark where it has none.
{
  const chosen = localStorage.getItem("pulser-theme");
  if (chosen === "dark" || chosen === "light") document.documentElement.dataset.theme = chosen;
}
