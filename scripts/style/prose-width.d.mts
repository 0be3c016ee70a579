export const MAX_WIDTH: number
export function tooWide(file: string, text: string): number[]
