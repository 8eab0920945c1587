import { readdirSync } from 'node:fs';

/** Every file under a folder, by its path from there. Leaves out installed packages, of which `test/compat` has thousands. */
export function filesUnder(folder: string): string[] {
  return readdirSync(folder, { withFileTypes: true }).flatMap((entry) => {
    if (!entry.isDirectory()) return entry.name;
    if (entry.name === 'node_modules') return [];
    return filesUnder(`${folder}/${entry.name}`).map((name) => `${entry.name}/${name}`);
  });
}
