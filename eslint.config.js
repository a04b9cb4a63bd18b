import js from "@eslint/js";
import globals from "globals";

export default [
  js.configs.recommended,
  {
    files: ["ui/**/*.js"],
    languageOptions: { ecmaVersion: 2022, sourceType: "module", globals: globals.browser },
    rules: {
      "no-empty": ["error", { allowEmptyCatch: true }],
      "no-unused-vars": ["error", { argsIgnorePattern: "^_", varsIgnorePattern: "^_", caughtErrors: "none" }],
      "max-len": ["error", { code: 120, ignoreStrings: true, ignoreTemplateLiterals: true, ignoreRegExpLiterals: true }],
      eqeqeq: "error",
      "no-var": "error",
      "prefer-const": "error",
      "no-implicit-globals": "error",
      // What is used before its line has run is an error that only a browser meets.
      "no-use-before-define": ["error", { functions: false, classes: false, variables: false }],
      "no-restricted-properties": [
        "error",
        ...["innerHTML", "insertAdjacentHTML"].map((property) => ({ property, message: "h() makes elements" })),
      ],
    },
  },
];
