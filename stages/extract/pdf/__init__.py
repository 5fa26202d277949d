"""Text of PDFs: opened safely, each page routed by what it shows, laid out, freed of furniture, joined."""
