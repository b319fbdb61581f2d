"""From what an evaluation found to files that people read: report, model card, CLAIM checklist. Text in, text out."""
