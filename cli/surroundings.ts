/** What the command line found around it; read once in cli/main.ts and handed to the commands. */
export interface Surroundings {
  /** The checkout. */
  root: string
  /** The built program. */
  program: string
  imageFolder: string
  stateFolder: string
  software: string
  env: Record<string, string>
}
