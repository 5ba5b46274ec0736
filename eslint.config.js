import js from '@eslint/js'
import tseslint from 'typescript-eslint'

const clockAndDice = [
  { object: 'Math', property: 'random', message: 'take a Random from base/random.ts as a parameter' },
  { object: 'Date', property: 'now', message: 'take a Clock from base/time.ts as a parameter' },
  { object: 'process', property: 'env', message: 'only a main.ts reads the environment' },
]

export default tseslint.config(
  { ignores: ['dist', 'build', 'node_modules'] },
  js.configs.recommended,
  ...tseslint.configs.strictTypeChecked,
  {
    languageOptions: { parserOptions: { projectService: true, tsconfigRootDir: import.meta.dirname } },
    rules: {
      'no-console': 'error',
      'no-restricted-properties': ['error', ...clockAndDice],
      'no-restricted-syntax': ['error', { selector: 'ExportDefaultDeclaration', message: 'use a named export' }],
      '@typescript-eslint/consistent-type-imports': 'error',
      '@typescript-eslint/switch-exhaustiveness-check': ['error', { considerDefaultExhaustiveForUnions: true }],
      '@typescript-eslint/restrict-template-expressions': ['error', { allowNumber: true, allowBoolean: true }],
      '@typescript-eslint/no-unused-vars': ['error', { argsIgnorePattern: '^_', varsIgnorePattern: '^_' }],
      '@typescript-eslint/no-confusing-void-expression': ['error', { ignoreArrowShorthand: true, ignoreVoidReturningFunctions: true }],
      '@typescript-eslint/no-non-null-assertion': 'off', // noUncheckedIndexedAccess makes it necessary where a bound was just checked
      '@typescript-eslint/no-unnecessary-condition': 'off', // data from outside is typed by what it should be
      '@typescript-eslint/no-unnecessary-type-parameters': 'off',
      '@typescript-eslint/no-deprecated': 'off',
      '@typescript-eslint/require-await': 'off', // an async interface may be met by a synchronous answer
      '@typescript-eslint/no-invalid-void-type': 'off',
    },
  },
  { files: ['**/main.ts', 'base/time.ts', 'base/random.ts', 'bench/**', 'test/**'], rules: { 'no-restricted-properties': 'off' } },
  { files: ['cli/**', 'bench/**', 'test/**'], rules: { 'no-console': 'off' } },
  {
    files: ['test/**'],
    rules: { '@typescript-eslint/no-unused-expressions': 'off', '@typescript-eslint/no-floating-promises': 'error' },
  },
  { files: ['**/*.js'], extends: [tseslint.configs.disableTypeChecked], rules: { 'no-restricted-syntax': 'off' } }, // tools want a default export
)
