/** Whether test/compat has the packages of its lock file. */
export function isCompatInstalled(): boolean;
